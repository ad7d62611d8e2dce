"""SseWriter: writes server-sent events to one response."""

from collections.abc import Iterable
from typing import Any, Self

import msgspec
from aiohttp import web

from server.http.stream_writer import StreamWriter

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    # Keeps nginx from buffering the events.
    "X-Accel-Buffering": "no",
}


def sse_text(documents: Iterable[Any], *, named: bool = False) -> bytes:
    """The documents as server-sent events; with `named` each has its `type` as its name."""
    return b"".join(
        (b"event: %s\n" % document["type"].encode() if named else b"")
        + b"data: "
        + msgspec.json.encode(document)
        + b"\n\n"
        for document in documents
    )


class SseWriter(StreamWriter):
    """Writes one streamed response of server-sent events.

    With `named` each event's name is its document's `type`; with `end_mark` the stream ends with
    OpenAI's [DONE].
    """

    def __init__(
        self,
        request: web.Request,
        response: web.StreamResponse,
        *,
        named: bool = False,
        end_mark: bool = True,
    ) -> None:
        super().__init__(request, response)
        self._named = named
        self._end_mark = end_mark

    @classmethod
    async def open(
        cls, request: web.Request, *, named: bool = False, end_mark: bool = True
    ) -> Self:
        """Send the headers; errors after this can only be events of the stream."""
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        return cls(request, response, named=named, end_mark=end_mark)

    async def send(self, documents: Iterable[Any]) -> None:
        """Send each document as one event, all in one write."""
        if data := self.encode(documents):
            await self.write(data)

    def encode(self, documents: Iterable[Any]) -> bytes:
        """Return the bytes of the events."""
        return sse_text(documents, named=self._named)

    async def ping(self) -> None:
        """Send a comment, so that proxies and clients do not time out."""
        await self.write(b":\n\n")

    async def finish(self) -> None:
        """End the response."""
        if self._end_mark:
            await self.write(b"data: [DONE]\n\n")
        await self.response.write_eof()
