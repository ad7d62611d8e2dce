"""ForkedWorker: a WorkerProcess that is forked from a process with all imports done.

Tests start more than a thousand fake workers. A new interpreter with their imports takes 0.15
seconds of CPU time, a fork 0.01.
"""

import asyncio
import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

from server.supervisor.process import ChildProcess, WorkerProcess
from tests.support.fork_server import ANSWER
from tests.support.paths import ROOT


class ForkedWorker(WorkerProcess):
    """A fake worker; the command is not used."""

    @staticmethod
    async def spawn(
        command: Sequence[str], descriptor: int, environment: Mapping[str, str]
    ) -> ChildProcess:
        """Fork a fake worker that gets `descriptor` and `environment`."""
        return await _ForkedProcess.start(descriptor, environment)


class _Answers(asyncio.Protocol):
    """Reads the fork server's answers: the process's id, then its wait status."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.pid: asyncio.Future[int] = loop.create_future()
        self.status: asyncio.Future[int] = loop.create_future()
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self.pid.done() and len(self._data) >= ANSWER.size:
            self.pid.set_result(*ANSWER.unpack_from(self._data))

    def connection_lost(self, exc: Exception | None) -> None:
        """Only now is the exit known to others, who may stop the loop: the socket is closed."""
        if len(self._data) == 2 * ANSWER.size:
            self.status.set_result(*ANSWER.unpack_from(self._data, ANSWER.size))
        for future in (self.pid, self.status):
            if not future.done():
                future.set_exception(ConnectionResetError("the fork server has ended"))


class _ForkedProcess:
    """What WorkerProcess needs of asyncio.subprocess.Process."""

    def __init__(self, stdout: asyncio.StreamReader, answers: _Answers) -> None:
        self.stdout: asyncio.StreamReader | None = stdout
        self.pid = answers.pid.result()
        self._status = answers.status

    @classmethod
    async def start(cls, descriptor: int, environment: Mapping[str, str]) -> "_ForkedProcess":
        loop = asyncio.get_running_loop()
        read_fd, write_fd = os.pipe()
        stdout = asyncio.StreamReader()
        pipe, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stdout), os.fdopen(read_fd, "rb", 0)
        )
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(
                    start_fork_server(), [b"f"], [theirs.fileno(), write_fd, descriptor]
                )
            ours.sendall(json.dumps(dict(environment)).encode())
            ours.shutdown(socket.SHUT_WR)
            transport, answers = await loop.create_connection(_Answers, sock=ours)
        except BaseException:
            ours.close()
            pipe.close()
            raise
        finally:
            os.close(write_fd)
        try:
            await asyncio.shield(answers.pid)
        except BaseException:
            # The worker ends by itself: its socket is closed by the caller.
            transport.close()
            pipe.close()
            raise
        return cls(stdout, answers)

    async def wait(self) -> int:
        return os.waitstatus_to_exitcode(await asyncio.shield(self._status))

    async def communicate(self) -> tuple[bytes, bytes]:
        assert self.stdout is not None
        output = await self.stdout.read()
        await self.wait()
        return output, b""

    def send_signal(self, number: int) -> None:
        if self._status.done():
            raise ProcessLookupError
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@functools.cache
def start_fork_server() -> socket.socket:
    """The socket of this process's fork server, which the first call starts. Processes that are
    forked later share it.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            cwd=ROOT,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
