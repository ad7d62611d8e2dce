"""HubProcess: a child process that talks to the hub, as the server sees it. Event loop only."""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence

from server.hub.errors import hub_error
from server.hub.messages import Failed, Progress, Reply, Request
from server.protocol.framing import FrameReader, FramingError, encode_frame

logger = logging.getLogger(__name__)
_READ_BYTES = 1 << 16
_MAX_LINE_BYTES = 2000
# A token, and the query of an address, which may be signed.
_SECRETS = re.compile(r"hf_[A-Za-z0-9]+|(?<=\?)\S+")


def child_environment(
    environment: Mapping[str, str], *, token: str | None, use_xet: bool = False
) -> dict[str, str]:
    """The variables of a child process; a token travels here, where `ps` does not show it."""
    # HF_DEBUG prints whole requests.
    wanted = {name: value for name, value in environment.items() if name != "HF_DEBUG"}
    wanted |= {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_XET": "0" if use_xet else "1",
        "PYTHONUNBUFFERED": "1",
    }
    return wanted | ({"HF_TOKEN": token} if token else {})


class HubProcess:
    """One child; `ask` may run for several requests at once."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._waiting: dict[int, asyncio.Queue[Reply | None]] = {}
        self._next_id = 1
        self._reading = asyncio.create_task(self._read())
        self._logging = asyncio.create_task(self._log())

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str]) -> "HubProcess":
        """Start the child. Raises OSError when the system refuses."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the child can be asked."""
        return self._process.returncode is None and not self._reading.done()

    def next_id(self) -> int:
        """A number for the next request."""
        self._next_id += 1
        return self._next_id

    async def ask(self, request: Request) -> AsyncIterator[Reply]:
        """Send a request and yield its replies; ends with the last. Raises ApiError."""
        replies: asyncio.Queue[Reply | None] = asyncio.Queue()
        self._waiting[request.id] = replies
        try:
            stdin = self._process.stdin
            assert stdin is not None
            if not self.is_running:
                raise hub_error("download_failed", "the process that queries the hub has ended")
            with contextlib.suppress(ConnectionError):
                stdin.write(encode_frame(request))
                await stdin.drain()
            while (reply := await replies.get()) is not None:
                if isinstance(reply, Failed):
                    raise hub_error(reply.code, reply.message, retry_after=reply.retry_after)
                yield reply
                if not isinstance(reply, Progress):
                    return
            status = await self._process.wait()
            raise hub_error(
                "download_failed", f"the process that queries the hub ended with status {status}"
            )
        finally:
            del self._waiting[request.id]

    async def stop(self) -> None:
        """End the child at once; what it has written stays."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        await asyncio.wait({self._reading, self._logging}, timeout=1.0)
        for task in (self._reading, self._logging):
            task.cancel()
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        reader: FrameReader[Reply] = FrameReader(Reply)
        try:
            while data := await stdout.read(_READ_BYTES):
                for reply in reader.feed(data):
                    if (replies := self._waiting.get(reply.id)) is not None:
                        replies.put_nowait(reply)
        except FramingError:
            logger.exception("the process that queries the hub sent data that are not frames")
        finally:
            for replies in self._waiting.values():
                replies.put_nowait(None)

    async def _log(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        rest = b""
        while data := await stderr.read(_READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[-_MAX_LINE_BYTES:]
            for line in lines:
                if text := line[:_MAX_LINE_BYTES].decode("utf-8", "replace").strip():
                    logger.debug("hub: %s", _SECRETS.sub("***", text))
