"""AdoptedProcess: gives a process started without asyncio the interface that WorkerProcess uses."""

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import subprocess


class AdoptedProcess:
    """The part of asyncio.subprocess.Process that WorkerProcess uses. Event loop only."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", stdout: asyncio.StreamReader | None
    ) -> None:
        self.stdout = stdout
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[int] = self._loop.create_future()
        # A thread waits for the exit, as in asyncio's ThreadedChildWatcher.
        threading.Thread(target=self._wait, name="wait for worker", daemon=True).start()

    @classmethod
    async def of(cls, process: "subprocess.Popen[bytes]") -> Self:
        """Read the unbuffered stdout of `process`, if it is a pipe, and wait for its exit."""
        if process.stdout is None:
            return cls(process, None)
        stdout = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stdout), process.stdout
        )
        return cls(process, stdout)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait for the exit; return its status, or the negative number of the signal."""
        return await asyncio.shield(self._exited)

    async def communicate(self) -> tuple[bytes, bytes]:
        """Read the output to its end, wait for the exit, and return the output and empty bytes."""
        output = b"" if self.stdout is None else await self.stdout.read()
        await self.wait()
        return output, b""

    def send_signal(self, number: int) -> None:
        """Signal the process, if it is still running."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL, if the process is still running."""
        self._process.kill()

    def _wait(self) -> None:
        status = self._process.wait()
        # The event loop may be closed by now.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._exited.set_result, status)
