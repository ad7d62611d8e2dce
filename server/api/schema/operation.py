"""Operation: what one route does, for the OpenAPI description."""

from dataclasses import dataclass
from typing import Any, Final

from server.api.schema.replies import ChunkDocument, ErrorDocument

JSON: Final = "application/json"
LINES: Final = "application/x-ndjson"
EVENTS: Final = "text/event-stream"
TEXT: Final = "text/plain"
HTML: Final = "text/html"

# What any path may answer: hosts, keys and bodies, needed or not, are looked at before the handler.
_ALWAYS = (400, 401, 403, 408, 413, 415)
MODEL = (400, 404)
# A body over the limit, too slow, or in an encoding nobody knows.
BODY = (408, 413, 415)
BUSY = (429, 500, 501, 503, 504, 507)

CHUNKS = (ChunkDocument, ErrorDocument)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route. `reply` is the struct of a 200 in JSON; `streams` adds server-sent events, which
    are `events`, `lines` JSON documents line by line; `error` is the struct of every other answer.

    `body` is the very type that parses the request; `query` maps parameters to their schemas.
    """

    tag: str
    summary: str
    body: Any = None
    needs_body: bool = False
    reply: Any = None
    streams: bool = False
    events: tuple[Any, ...] = ()
    lines: bool = False
    text: str | None = None
    errors: tuple[int, ...] = ()
    error: Any = ErrorDocument
    query: tuple[tuple[str, dict[str, str]], ...] = ()

    @property
    def all_errors(self) -> tuple[int, ...]:
        """Every status but 200 that it may answer with."""
        return tuple(sorted({*_ALWAYS, *self.errors}))
