"""Fork: a process that is forked from one with all imports done (fork_server.py).

A new interpreter with their imports takes 0.15 seconds of CPU time for a fake worker and 0.25 for a
process that talks to a hub; a fork takes 0.01.
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
from typing import NamedTuple

from tests.support.fork_server import ANSWER
from tests.support.paths import ROOT


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


class Fork:
    """The part of asyncio.subprocess.Process that the server uses."""

    stdin: asyncio.StreamWriter | None = None
    stdout: asyncio.StreamReader | None = None
    stderr: asyncio.StreamReader | None = None

    def __init__(self, answers: _Answers) -> None:
        self.pid = answers.pid.result()
        self._status = answers.status

    @classmethod
    async def start(
        cls, program: str, descriptors: Sequence[int], environment: Mapping[str, str]
    ) -> "Fork":
        """Fork a process that gets the descriptors, of which the caller closes its own."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                control = start_fork_server(program).control
                socket.send_fds(control, [b"f"], [theirs.fileno(), *descriptors])
            ours.sendall(json.dumps(dict(environment)).encode())
            ours.shutdown(socket.SHUT_WR)
            transport, answers = await loop.create_connection(_Answers, sock=ours)
        except BaseException:
            ours.close()
            raise
        try:
            await asyncio.shield(answers.pid)
        except BaseException:
            # The process ends by itself: the caller closes its socket or pipe.
            transport.close()
            raise
        return cls(answers)

    @property
    def returncode(self) -> int | None:
        return os.waitstatus_to_exitcode(self._status.result()) if self._status.done() else None

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


async def pipe_reader(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """A reader of the read end of a pipe, which the transport closes."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    return reader, transport


class Server(NamedTuple):
    """A fork server: the socket for its requests, and its process id."""

    control: socket.socket
    pid: int


@functools.cache
def start_fork_server(program: str) -> Server:
    """This process's fork server of a program, which the first call starts. Processes that are
    forked later share it.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno()), program],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            cwd=ROOT,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return Server(ours, process.pid)
