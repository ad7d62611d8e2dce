"""NdjsonWriter: JSON documents, one a line, on one response."""

from collections.abc import Iterable
from typing import Any, Self

import msgspec
from aiohttp import web

from server.http.stream_writer import StreamWriter

_HEADERS = {"Content-Type": "application/x-ndjson", "X-Accel-Buffering": "no"}


class NdjsonWriter(StreamWriter):
    """Writes lines to a client."""

    @classmethod
    async def open(cls, request: web.Request) -> Self:
        """Send the headers: from here on an error can only be a line."""
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        return cls(request, response)

    async def send(self, documents: Iterable[Any]) -> None:
        """Each document as one line, all in one write."""
        lines = [msgspec.json.encode(document) + b"\n" for document in documents]
        if lines:
            await self.write(b"".join(lines))

    async def ping(self) -> None:
        """Nothing: a line that is no document would be an error to clients."""

    async def finish(self) -> None:
        """The end."""
        await self.response.write_eof()
