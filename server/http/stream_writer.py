"""StreamWriter: writes a streamed response, and disconnects a client that stops reading."""

import asyncio

from aiohttp import web

from server.http.app_keys import CONFIG

_UNPAUSED = 1 << 14
"""Below this many bytes in the transport's buffer aiohttp's write never waits: asyncio's flow
control resumes writing at this size, and pauses it at four times this size.
"""

MAX_NOW_BYTES = 1 << 15
"""With this much more than _UNPAUSED in its buffer a transport is still not paused."""


class StreamWriter:
    """One streamed response. A write waits while the client reads slowly. Event loop only.

    A client that reads nothing for --write-timeout is disconnected: otherwise it could keep its
    connection and its sequence's resources for as long as it likes.
    """

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self.response = response
        self._request = request
        self._write_seconds = request.app[CONFIG].write_seconds

    @property
    def is_clear(self) -> bool:
        """Whether write_now() may be called: the client is connected and reads what is sent."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return False
        return transport.get_write_buffer_size() < _UNPAUSED

    def write_now(self, data: bytes) -> None:
        """Send `data`, at most MAX_NOW_BYTES, without awaiting. Only if the stream `is_clear`.

        Raises ConnectionResetError if the client disconnects.
        """
        assert len(data) <= MAX_NOW_BYTES, "write() is for more"
        # Below its limits aiohttp's coroutine never waits, so one step of it is all of it.
        writing = self.response.write(data)
        try:
            writing.send(None)
        except StopIteration:
            return
        writing.close()
        raise AssertionError("aiohttp waited although the transport is not paused")

    async def write(self, data: bytes) -> None:
        """Send `data`. Raises ConnectionResetError if the client disconnects or times out."""
        transport = self._request.transport
        if transport is not None and transport.get_write_buffer_size() + len(data) < _UNPAUSED:
            await self.response.write(data)  # nearly every token comes here, without a timer
            return
        try:
            async with asyncio.timeout(self._write_seconds):
                await self.response.write(data)
        except TimeoutError:
            if transport is not None:
                # close() would wait until the buffered data is sent.
                transport.abort()
            raise ConnectionResetError(
                f"the client read nothing for {self._write_seconds:g} s"
            ) from None
