"""PatientWriter: writes to a client that reads slowly, up to a limit."""

import asyncio

from aiohttp import web

from server.keys import CONFIG


class PatientWriter:
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
        try:
            async with asyncio.timeout(self._patience):
                await self.response.write(data)
        except TimeoutError:
            transport = self._request.transport
            if transport is not None:
                # Not closed: what is buffered would be waited for.
                transport.abort()
            raise ConnectionResetError(
                f"the client took nothing for {self._patience:g} seconds"
            ) from None
