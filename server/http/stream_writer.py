"""StreamWriter: writes to a client that reads slowly, up to a limit."""

import asyncio

from aiohttp import web

from server.http.app_keys import CONFIG

_ROOM = 1 << 14
"""Bytes in the transport's buffer up to which aiohttp's write never waits: asyncio goes on at so
many where it had stopped, and stops at four times as many.
"""


class StreamWriter:
    """One streamed response. A write waits while the client is slow; loop only.

    A client that takes nothing for the configured time is cut off, or its connection and all that
    was computed for it would stay as long as it likes.
    """

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self.response = response
        self._request = request
        self._patience = request.app[CONFIG].write_seconds

    async def write(self, data: bytes) -> None:
        """Send `data`. Raises ConnectionResetError when the client has gone, or is given up."""
        transport = self._request.transport
        if transport is not None and transport.get_write_buffer_size() + len(data) < _ROOM:
            await self.response.write(data)  # as for nearly every token: no timer is needed
            return
        try:
            async with asyncio.timeout(self._patience):
                await self.response.write(data)
        except TimeoutError:
            if transport is not None:
                # Not closed: what is buffered would be waited for.
                transport.abort()
            raise ConnectionResetError(
                f"the client took nothing for {self._patience:g} seconds"
            ) from None
