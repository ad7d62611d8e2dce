"""NdjsonWriter: writes JSON documents to one response, one per line."""

from collections.abc import Iterable
from typing import Any, Self

import msgspec
from aiohttp import web

from server.http.stream_writer import StreamWriter

_HEADERS = {"Content-Type": "application/x-ndjson", "X-Accel-Buffering": "no"}


class NdjsonWriter(StreamWriter):
    """Writes one streamed response in NDJSON, as Ollama's clients expect."""

    @classmethod
    async def open(cls, request: web.Request) -> Self:
        """Send the headers; errors after this can only be lines of the stream."""
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        return cls(request, response)

    async def send(self, documents: Iterable[Any]) -> None:
        """Send each document as one line, all in one write."""
        if data := self.encode(documents):
            await self.write(data)

    def encode(self, documents: Iterable[Any]) -> bytes:
        """Return the bytes of the lines."""
        return b"".join([msgspec.json.encode(document) + b"\n" for document in documents])

    async def ping(self) -> None:
        """Send nothing: clients would fail on a line that is not a document."""

    async def finish(self) -> None:
        """End the response."""
        await self.response.write_eof()
