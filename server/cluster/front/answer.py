"""Answer: writes the answer to one request of the ingress."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec

from server.cluster.call import Head
from server.cluster.front.failures import error_body, last_event
from server.cluster.front.request import HttpRequest, Send
from server.errors import ApiError

_STREAMS: Final = ("text/event-stream", "application/x-ndjson")
_REPLICA: Final = "X-Llamabind-Replica"
# Ray's proxy sends its own.
_PROXYS: Final = ("date", "server", "x-request-id")
Headers = Sequence[tuple[str, str]]


class Answer:
    """One answer. `has_begun` once its head is sent: an error is then an event of the stream."""

    def __init__(self, request: HttpRequest, send: Send) -> None:
        self.has_begun = False
        self._request = request
        self._send = send
        self._content_type = ""

    async def relay(self, head: Head, items: AsyncIterator[Head | bytes]) -> None:
        """Send a replica's answer. A stream is sent as it arrives, another answer once it is whole,
        so that a replica that ends can be replaced.
        """
        content_type = {name.lower(): value for name, value in head.headers}.get("content-type", "")
        kept = [pair for pair in head.headers if pair[0].lower() not in _PROXYS]
        headers = (*kept, (_REPLICA, head.replica))
        if not content_type.startswith(_STREAMS):
            body = b"".join([item async for item in items if isinstance(item, bytes)])
            await self._whole(head.status, headers, body)
            return
        self._content_type = content_type
        await self._begin(head.status, headers)
        async for item in items:
            assert isinstance(item, bytes)
            await self._send({"type": "http.response.body", "body": item, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def send_json(self, document: Any, *, headers: Headers = ()) -> None:
        """Send a JSON document."""
        await self._json(200, headers, msgspec.json.encode(document))

    async def send_text(self, text: str) -> None:
        """Send Prometheus' text format."""
        content_type = ("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        await self._whole(200, [content_type], text.encode())

    async def fail(self, error: ApiError) -> None:
        """Send an error: the whole answer, or the last event of a stream that has begun."""
        path = self._request.path
        if not self.has_begun:
            await self._json(error.status, list(error.headers.items()), error_body(path, error))
            return
        event = last_event(path, self._content_type, error)
        await self._send({"type": "http.response.body", "body": event})

    async def _json(self, status: int, headers: Headers, body: bytes) -> None:
        await self._whole(status, [("Content-Type", "application/json"), *headers], body)

    async def _whole(self, status: int, headers: Headers, body: bytes) -> None:
        is_head = self._request.method == "HEAD"
        if not is_head:
            headers = [*headers, ("Content-Length", str(len(body)))]
        await self._begin(status, headers)
        await self._send({"type": "http.response.body", "body": b"" if is_head else body})

    async def _begin(self, status: int, headers: Headers) -> None:
        self.has_begun = True
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
               for name, value in headers]  # fmt: skip
        await self._send({"type": "http.response.start", "status": status, "headers": raw})
