"""keep_alive: applies a request's keep_alive to the model when the request ends."""

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from server.api.ollama.schema import ModelRequest
from server.http.access import is_admin
from server.models.entry import ModelEntry


@contextmanager
def keep_alive(request: web.Request, entry: ModelEntry, body: ModelRequest) -> Iterator[None]:
    """When the request ends, apply its keep_alive to the model, whatever its outcome.

    Clients send keep_alive with every request, so without admin rights it is ignored, not refused.
    """
    try:
        yield
    finally:
        seconds = body.keep_seconds
        if seconds is not None and entry.is_in_memory and is_admin(request):
            entry.override_ttl(seconds)
