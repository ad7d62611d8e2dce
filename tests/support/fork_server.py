"""`python -m tests.support.fork_server FD`: forks a fake worker for each request on a socket.

A request is one byte with three descriptors: a socket for its answers, the worker's standard output
and the worker's socket. The answers are the process's id and, once it has ended, its wait status.
The worker's environment comes on the socket for answers, as JSON up to the end of the data.
"""

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import struct
import sys
import traceback
from typing import NoReturn

from server.worker.session.session import serve
from tests.support.fake_worker import load_scripted_engine, scripted_estimate

ANSWER = struct.Struct("=q")
N_DESCRIPTORS = 3
_BUFFER_BYTES = 1 << 16


class ForkServer:
    """Single-threaded, so that a fork is a copy in which no lock is held."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._answers: dict[int, socket.socket] = {}  # by process id
        self._wakeup, writer = socket.socketpair()
        for end in (self._wakeup, writer):
            end.setblocking(False)
        self._writer = writer
        # Ctrl-C is for the tests, whose end closes the socket.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(writer.fileno())

    def run(self) -> None:
        """Serve requests until the control socket is closed."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._wakeup, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._wakeup in ready:
                    self._wakeup.recv(_BUFFER_BYTES)
                    self._reap()
                if self._control in ready and not self._fork():
                    return

    def _fork(self) -> bool:
        """Fork a worker; False at the end of the requests."""
        data, descriptors, _, _ = socket.recv_fds(self._control, 1, N_DESCRIPTORS)
        if not data:
            return False
        answers_fd, output_fd, connection_fd = descriptors
        answers = socket.socket(fileno=answers_fd)
        pid = os.fork()
        if pid == 0:
            self._become_worker(answers, output_fd, connection_fd)
        # Only the worker may hold these, so that its end is seen.
        os.close(output_fd)
        os.close(connection_fd)
        self._answers[pid] = answers
        _send(answers, pid)
        return True

    def _reap(self) -> None:
        while self._answers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with self._answers.pop(pid) as answers:
                _send(answers, status)

    def _become_worker(
        self, answers: socket.socket, output_fd: int, connection_fd: int
    ) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for descriptor in (1, 2):
                os.dup2(output_fd, descriptor)
            os.close(output_fd)
            for other in (self._control, self._wakeup, self._writer, *self._answers.values()):
                other.close()
            with answers, answers.makefile("rb") as file:
                environment = json.load(file)
            os.environ.clear()
            os.environ.update(environment)
            serve(socket.socket(fileno=connection_fd), load_scripted_engine, scripted_estimate)
        finally:
            # serve() does not return. An error before it must not go on as a second fork server.
            traceback.print_exc()
            os._exit(1)


def _send(answers: socket.socket, number: int) -> None:
    # Closed if the start of the worker was cancelled.
    with contextlib.suppress(ConnectionError):
        answers.sendall(ANSWER.pack(number))


if __name__ == "__main__":
    server = ForkServer(socket.socket(fileno=int(sys.argv[1])))
    gc.collect()
    gc.freeze()  # a collection in a worker would copy the pages of all objects
    server.run()
