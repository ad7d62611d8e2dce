"""`python -m tests.support.fork_server FD PROGRAM`: forks a process for each request on a socket.

PROGRAM is "worker", a fake worker, or "hub", what `python -m server.hub` runs. A request is one
byte with descriptors: a socket for its answers, and those that the program gets. The answers are
the process's id and, once it has ended, its wait status. The process's environment comes on the
socket for answers, as JSON up to the end of the data.
"""

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

ANSWER = struct.Struct("=q")
_MAX_DESCRIPTORS = 4
_BUFFER_BYTES = 1 << 16
Program = Callable[[Sequence[int]], None]
"""Runs with its environment and these descriptors; does not return."""


class ForkServer:
    """Single-threaded, so that a fork is a copy in which no lock is held."""

    def __init__(self, control: socket.socket, program: Program) -> None:
        self._control = control
        self._program = program
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
        """Fork a process; False at the end of the requests."""
        data, received, _, _ = socket.recv_fds(self._control, 1, _MAX_DESCRIPTORS)
        if not data:
            return False
        answers_fd, *descriptors = received
        answers = socket.socket(fileno=answers_fd)
        pid = os.fork()
        if pid == 0:
            self._become_program(answers, descriptors)
        # Only the new process may hold these, so that its end is seen.
        for descriptor in descriptors:
            os.close(descriptor)
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

    def _become_program(self, answers: socket.socket, descriptors: Sequence[int]) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for other in (self._control, self._wakeup, self._writer, *self._answers.values()):
                other.close()
            with answers, answers.makefile("rb") as file:
                environment = json.load(file)
            os.environ.clear()
            os.environ.update(environment)
            self._program(descriptors)
        finally:
            # The program does not return. An error must not go on as a second fork server.
            traceback.print_exc()
            os._exit(1)


def _send(answers: socket.socket, number: int) -> None:
    # Closed if the start of the process was cancelled.
    with contextlib.suppress(ConnectionError):
        answers.sendall(ANSWER.pack(number))


def _worker() -> Program:
    from server.worker.session.session import serve
    from tests.support.fake_worker import load_scripted_engine, scripted_estimate

    def run(descriptors: Sequence[int]) -> None:
        output, connection = descriptors
        for standard in (1, 2):
            os.dup2(output, standard)
        os.close(output)
        serve(socket.socket(fileno=connection), load_scripted_engine, scripted_estimate)

    return run


def _hub() -> Program:
    from huggingface_hub import HfApi, constants  # noqa: F401 - all imports are done before forks

    from server.hub import library, transfer  # noqa: F401
    from server.hub.__main__ import main

    def run(descriptors: Sequence[int]) -> None:
        for standard, descriptor in enumerate(descriptors):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        # The library reads the environment only there.
        importlib.reload(constants)
        main()

    return run


_PROGRAMS = {"worker": _worker, "hub": _hub}

if __name__ == "__main__":
    server = ForkServer(socket.socket(fileno=int(sys.argv[1])), _PROGRAMS[sys.argv[2]]())
    gc.collect()
    gc.freeze()  # a collection in a fork would copy the pages of all objects
    server.run()
