"""Operation: one route of the OpenAPI description."""

from dataclasses import dataclass
from typing import Any, Final

from server.api.schema.replies.answers import ChunkDocument
from server.api.schema.replies.errors import ErrorDocument

JSON: Final = "application/json"
LINES: Final = "application/x-ndjson"
EVENTS: Final = "text/event-stream"
TEXT: Final = "text/plain"
HTML: Final = "text/html"
SVG: Final = "image/svg+xml"

# Errors of every path: hosts, keys and bodies are checked before the handler runs.
_ALWAYS = (400, 401, 403, 408, 413, 415)
MODEL = (400, 404)
# A body that is too slow, too large, or in an unsupported encoding.
BODY = (408, 413, 415)
BUSY = (429, 500, 501, 503, 504, 507)

CHUNKS = (ChunkDocument, ErrorDocument)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route.

    `reply` is the type of a 200 in JSON. `streams` adds server-sent events of the types `events`,
    `lines` adds JSON documents line by line, and `error` is the type of every error answer. `body`
    is the type that parses the request; `query` maps parameters to their schemas. `starts`: the
    reply may also be a 202, of something that goes on.
    """

    tag: str
    summary: str
    body: Any = None
    needs_body: bool = False
    reply: Any = None
    starts: bool = False
    streams: bool = False
    events: tuple[Any, ...] = ()
    lines: bool = False
    text: str | None = None
    errors: tuple[int, ...] = ()
    error: Any = ErrorDocument
    query: tuple[tuple[str, dict[str, str]], ...] = ()

    @property
    def all_errors(self) -> tuple[int, ...]:
        """All error statuses of the route."""
        return tuple(sorted({*_ALWAYS, *self.errors}))
