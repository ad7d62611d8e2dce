"""Who may do what: API keys, and the admin keys for what changes the models in memory."""

import re

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from server.config import ServerConfig
from server.errors import AuthenticationError, ForbiddenError
from server.http.api_keys import Caller, KeyRing, key_name
from server.http.app_keys import CALLER, CONFIG

# Patterns as in server.api.routes: what was matched counts, not how the path was spelled.
# The page is the same everywhere: it asks for a key itself before it can tell anything.
_PUBLIC = frozenset({"/health", "/v1/health", "/live", "/ready", "/docs"})
_ADMIN = frozenset(
    {
        "/api/v2/models/{model_id}/load",
        "/api/v2/models/{model_id}/unload",
        "/api/v2/models/{model_id}/estimate",
        "/api/v2/events",
        "/models/load",
        "/models/sse",
        "/models/unload",
    }
)
# It goes into our log: nothing in it may look like more than a name.
_CLIENT = re.compile(r"[\w.:-]{1,64}", re.ASCII)


def require_key(config: ServerConfig) -> Middleware:
    """Refuses a request without a key where keys are set; notes whose it is on the request.

    Unknown paths are refused too: what there is, is nobody's business without a key.
    """
    ring = KeyRing(config.api_keys, config.admin_keys)
    needs_key = bool(config.api_keys)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        pattern = _pattern(request, config.api_prefix)
        caller = _caller(request, ring)
        request[CALLER] = caller or _stranger(request, is_known=not needs_key)
        # A browser's preflight cannot carry a key.
        if pattern not in _PUBLIC and request.method != "OPTIONS":
            require_known(request)
        if pattern in _ADMIN:
            require_admin(request)
        return await handler(request)

    return check


def require_known(request: web.Request) -> None:
    """Refuse a request without a key of ours, where keys are set."""
    if not request[CALLER].is_known:
        raise AuthenticationError(was_given=_key(request) is not None)


def require_admin(request: web.Request) -> None:
    """Refuse what changes the models in memory to whoever is no admin, where there are admins."""
    if not is_admin(request):
        raise ForbiddenError(
            "this needs an admin key; an ordinary one is for chats and looking",
            code="admin_key_required",
        )


def is_admin(request: web.Request) -> bool:
    """Whether the caller may change the models in memory: everybody where there are no admins."""
    return not request.app[CONFIG].admin_keys or request[CALLER].is_admin


def _caller(request: web.Request, ring: KeyRing) -> Caller | None:
    key = _key(request)
    return ring.find(key) if key else None


def _stranger(request: web.Request, *, is_known: bool) -> Caller:
    """Somebody without a key of ours: told apart for fair turns by what they say they are, or by
    address. It matters only where no key is needed.
    """
    if key := _key(request):
        return Caller(key_name(key), is_known=is_known)
    client = request.headers.get("X-Client", "")
    name = f"client-{client}" if _CLIENT.fullmatch(client) else request.remote or "local"
    return Caller(name, is_known=is_known)


def _key(request: web.Request) -> str | None:
    """The key that the request carries, as OpenAI's clients or as Anthropic's send it."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return request.headers.get("X-Api-Key", "").strip() or None


def _pattern(request: web.Request, prefix: str) -> str:
    resource = request.match_info.route.resource
    return resource.canonical.removeprefix(prefix) if resource else ""
