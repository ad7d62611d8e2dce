"""WorkerProcess: a child process with its socket, its output and its exit. Knows no protocol."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from llamabind.errors import OTHER_BUILD
from llamabind.system.address_space import limit_text
from server.supervisor.adopted_process import AdoptedProcess
from server.supervisor.connection import WorkerConnection
from server.supervisor.early_worker import EarlyWorker
from server.supervisor.worker_environment import worker_environment

logger = logging.getLogger("server.worker")
_LOG_TAIL_LINES = 60
_MAX_LINE_BYTES = 4096
_READ_BYTES = 1 << 16
_HINTS = {
    "SIGKILL": " (out of memory, or killed by hand)",
    "SIGILL": f": the native libraries use instructions that this CPU lacks; {OTHER_BUILD}",
}
# The messages of processes that cannot start under a limit such as ulimit -v: the dynamic
# linker's, OpenBLAS's (in NumPy), ggml's, Python's, and C++'s.
_NO_MEMORY = (
    "annot allocate memory",
    "emory allocation still failed",
    "insufficient memory",
    "failed to map segment",
    "can't start new thread",
    "MemoryError",
    "std::bad_alloc",
)
_NO_MEMORY_LINES = 5
# What ggml prints before it aborts because an RPC server is gone (ggml-rpc.cpp).
_RPC_LOST = (
    "Remote RPC server crashed or returned malformed response",
    "RPC handshake failed",
    "Failed to connect to ",
)
_SHORT_OF_MEMORY = (
    "for lack of host memory; a limit of ulimit -v or of the container may be the cause"
)
# The first line of a faulthandler dump; the threads that follow say nothing about the cause.
_DUMP_BEGINS = "Fatal Python error"
# A worker whose socket was closed exits by itself within milliseconds.
_TERMINATE_AFTER_SECONDS = 2.0
_KILL_AFTER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """How a worker ended: its exit status (negative: the signal) and its last lines of output.

    `expected` if the server stopped it. `cause` is the predicate of "the worker process" if the
    server ended it for a fault.
    """

    returncode: int
    log_tail: tuple[str, ...] = ()
    expected: bool = False
    cause: str = ""

    @property
    def description(self) -> str:
        """How it ended, as the predicate of "the worker process"."""
        if self.cause:
            return self.cause
        if self.returncode >= 0:
            return f"exited with status {self.returncode}"
        if self._has_lost_rpc:
            return "lost the connection to an RPC server"
        try:
            name = signal.Signals(-self.returncode).name
        except ValueError:
            name = f"signal {-self.returncode}"
        return f"was killed by {name}{_HINTS.get(name, '')}"

    @property
    def reason(self) -> str:
        """The machine-readable reason of a failure: see docs/models.md."""
        if self._has_lost_rpc:
            return "rpc_server_lost"
        return "unsupported_cpu" if self.returncode == -signal.SIGILL else "crashed"

    @property
    def load_reason(self) -> str:
        """`reason` for a worker that ended during a load: out_of_memory if its output says so."""
        return "out_of_memory" if self._memory_line else self.reason

    @property
    def load_description(self) -> str:
        """`description` with the line about memory, if there is one, or the limit of memory.

        Native code that gets no memory often ends without a word.
        """
        if line := self._memory_line:
            return f"{self.description} {_SHORT_OF_MEMORY} ({line[:200]})"
        limit = limit_text()
        return (
            f"{self.description}; {limit}, which may be too little" if limit else self.description
        )

    @property
    def _has_lost_rpc(self) -> bool:
        return self.returncode == -signal.SIGABRT and any(
            sign in line for line in self.log_tail for sign in _RPC_LOST
        )

    @property
    def _memory_line(self) -> str:
        last = self.log_tail[-_NO_MEMORY_LINES:]
        return next((line for line in last if any(sign in line for sign in _NO_MEMORY)), "")


class ChildProcess(Protocol):
    """The part of asyncio.subprocess.Process that WorkerProcess uses."""

    stdout: asyncio.StreamReader | None

    @property
    def pid(self) -> int: ...  # noqa: D102

    async def wait(self) -> int: ...  # noqa: D102

    async def communicate(self) -> tuple[bytes, bytes]: ...  # noqa: D102

    def send_signal(self, signal: int) -> None: ...  # noqa: D102

    def kill(self) -> None: ...  # noqa: D102


class WorkerProcess:
    """Owns a child process until it has exited and was reaped. Event loop only.

    The child gets one end of a socket pair as `--fd N`. Its stdout and stderr, including prints of
    native code, are copied to the server's log; the last 60 lines are kept.
    """

    def __init__(
        self,
        process: ChildProcess,
        connection: WorkerConnection,
        name: str,
    ) -> None:
        self.name = name
        self.connection = connection
        self._process = process
        self._tail: deque[str] = deque(maxlen=_LOG_TAIL_LINES)
        self._is_dumping = False
        self._log_task = asyncio.create_task(self._follow_output())

    @classmethod
    async def start(cls, command: Sequence[str], name: str) -> Self:
        """Start `command`. Raises OSError when the system refuses."""
        ours, theirs = socket.socketpair()
        try:
            process = await cls.spawn(command, theirs.fileno(), worker_environment())
        except BaseException:
            ours.close()
            raise
        finally:
            # Only the child may hold this end: then its exit is an end-of-file for the server.
            theirs.close()
        return await cls._connect(process, ours, name)

    @classmethod
    async def adopt(cls, early: EarlyWorker, name: str) -> Self | None:
        """The process that was started before the event loop; None if it was ended or taken."""
        started = early.take()
        if started is None:
            return None
        process, ours = started
        try:
            adopted = await AdoptedProcess.of(process)
        except BaseException:
            ours.close()
            process.kill()
            raise
        return await cls._connect(adopted, ours, name)

    @classmethod
    async def _connect(cls, process: ChildProcess, ours: socket.socket, name: str) -> Self:
        try:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(WorkerConnection, sock=ours)
        except BaseException:
            # Cancelled: nothing else will end the child.
            ours.close()
            process.kill()
            await process.communicate()
            raise
        return cls(process, connection, name)

    @staticmethod
    async def spawn(
        command: Sequence[str], descriptor: int, environment: Mapping[str, str]
    ) -> ChildProcess:
        """A process that runs `command` and inherits `descriptor`. Tests fork a process instead."""
        return await asyncio.create_subprocess_exec(
            *command,
            "--fd",
            str(descriptor),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=[descriptor],
            env=environment,
        )

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def log_tail(self) -> tuple[str, ...]:
        """The last lines of its output."""
        return tuple(self._tail)

    async def wait(self) -> WorkerExit:
        """Wait for the process to end; returns its exit status and last lines."""
        returncode = await self._process.wait()
        # A grandchild may hold the pipe open: the exit is what counts, not the end of the output.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await asyncio.wait({self._log_task})
        return WorkerExit(returncode, self.log_tail)

    async def stop(self) -> WorkerExit:
        """Close the socket, which makes the worker exit; if it does not, SIGTERM, then SIGKILL."""
        self.connection.close()
        steps = ((_TERMINATE_AFTER_SECONDS, signal.SIGTERM), (_KILL_AFTER_SECONDS, signal.SIGKILL))
        for seconds, number in steps:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    return await self.wait()
            logger.warning(
                "%s: still running after %g s, sending %s", self.name, seconds, number.name
            )
            self.send_signal(number)
        return await self.wait()

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the child, if it is still running."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _follow_output(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        rest = b""
        while data := await stdout.read(_READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._keep(line)
            if len(rest) > _MAX_LINE_BYTES:
                self._keep(rest)
                rest = b""
        if rest:
            self._keep(rest)

    def _keep(self, line: bytes) -> None:
        text = line[:_MAX_LINE_BYTES].decode("utf-8", "replace").rstrip()
        if not text:
            return
        self._is_dumping = self._is_dumping or text.startswith(_DUMP_BEGINS)
        # Clients see the tail: it has the cause of a crash, without the stack trace.
        if not self._is_dumping:
            self._tail.append(text)
        level = (
            logging.WARNING if text.startswith(("WARNING", "ERROR", "CRITICAL")) else logging.DEBUG
        )
        logger.log(level, "%s: %s", self.name, text)
