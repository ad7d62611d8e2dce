"""HttpRequest: one request of the ingress, read from ASGI."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs

import msgspec

from server.cluster.front.failures import TooLargeError
from server.errors import InvalidRequestError
from server.http.body.unpacking import UnpackedTooLargeError, UnpackError, is_known, unpack
from server.http.body.value_limit import check_values
from server.http.paths import plain_path

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_LARGE: Final = 1 << 20  # bytes of a body whose JSON is parsed outside the event loop


@dataclass(slots=True)
class HttpRequest:
    """Method, path and headers of a request; `headers` have lower-case names, the first of each.

    `body` is decompressed; `document` is its JSON if that is an object, else empty.
    `is_malformed` if the body is not a JSON object, or names its model by something else than text.
    """

    method: str
    path: str
    target: str
    pairs: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    client: str
    body: bytes = b""
    document: dict[str, Any] = field(default_factory=dict)
    is_malformed: bool = False

    @classmethod
    def of(cls, scope: Scope) -> "HttpRequest":
        """The request without its body."""
        pairs = tuple((name.decode("latin-1"), value.decode("latin-1"))
                      for name, value in scope["headers"])  # fmt: skip
        query = scope.get("query_string", b"").decode("latin-1")
        raw = scope.get("raw_path") or scope["path"].encode()
        path = raw.decode("latin-1").partition("?")[0]
        headers: dict[str, str] = {}
        for name, value in pairs:
            headers.setdefault(name.lower(), value)
        client = scope.get("client")
        return cls(
            method=scope["method"],
            path=plain_path(scope["path"]),
            target=f"{path}?{query}" if query else path,
            pairs=pairs,
            headers=headers,
            client=client[0] if client else "local",
        )

    def query(self, name: str) -> str | None:
        """The first value of a query parameter."""
        values = parse_qs(self.target.partition("?")[2]).get(name)
        return values[0] if values else None

    async def read(self, receive: Receive, limit: int) -> None:
        """Read the body. Raises TooLargeError and InvalidRequestError."""
        parts = []
        n_bytes = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise asyncio.CancelledError
            parts.append(message.get("body", b""))
            n_bytes += len(parts[-1])
            if n_bytes > limit:
                raise _too_large(limit)
            more = message.get("more_body", False)
        self.body = b"".join(parts)
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if is_known(encoding):
            self.body = await asyncio.to_thread(_unpacked, self.body, encoding, limit)
            self.pairs = tuple(pair for pair in self.pairs if pair[0].lower() != "content-encoding")
        if self.body:
            await check_values(self.body)
            is_large = len(self.body) > _LARGE
            document = await asyncio.to_thread(_parse, self.body) if is_large else _parse(self.body)
            self.document = document or {}
            self.is_malformed = document is None or not isinstance(
                self.document.get("model"), str | None
            )


def _parse(body: bytes) -> dict[str, Any] | None:
    """The JSON object of a body; None if it is none."""
    try:
        document = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    try:
        return b"".join(unpack(body, encoding, limit))
    except UnpackedTooLargeError:
        raise _too_large(limit) from None
    except UnpackError as error:
        raise InvalidRequestError(
            f"the body is not valid {encoding}: {error}", code="bad_body"
        ) from None


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        f"the request body is larger than {limit >> 20} MB, the limit max_body_mb of the cluster"
    )
