"""Who is asking: a key by which waiting requests are served in turns."""

import hashlib

from aiohttp import web

_KEY_LENGTH = 16
_MAX_CLIENT = 128


def caller_of(request: web.Request) -> str:
    """The caller of a request: its API key (as a hash), its X-Client header, or its address."""
    key = request.headers.get("Authorization") or request.headers.get("X-Api-Key")
    if key:
        return "key:" + hashlib.sha256(key.encode(errors="replace")).hexdigest()[:_KEY_LENGTH]
    if client := request.headers.get("X-Client"):
        return "client:" + client[:_MAX_CLIENT]
    return "peer:" + (request.remote or "")
