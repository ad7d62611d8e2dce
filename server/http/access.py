"""Access checks: API keys for all paths but probes, admin keys for loading and unloading."""

import ipaddress
import re

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from server.config import ServerConfig
from server.errors import AuthenticationError, ForbiddenError
from server.http.api_keys import Caller, KeyRing, key_name
from server.http.app_keys import CALLER, CONFIG
from server.models.admission import CALLER_OF_QUEUE

# Route patterns as in server.api.routes, so that the spelling of a path does not matter.
# /docs and the web page are static files; they ask for a key before they use the API.
_PUBLIC = frozenset(
    {"/", "/health", "/v1/health", "/live", "/ready", "/docs", "/ui/{file}", "/favicon.ico"}
)
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
# X-Client is written to the log, so it may contain only characters of a plain name.
_CLIENT = re.compile(r"[\w.:-]{1,64}", re.ASCII)


def require_key(config: ServerConfig) -> Middleware:
    """Refuses requests without a valid key where keys are set; stores the Caller in the request.

    Unknown paths are refused too, so that a client without a key cannot find out which exist.
    """
    ring = KeyRing(config.api_keys, config.admin_keys)
    needs_key = bool(config.api_keys)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        pattern = _pattern(request, config.api_prefix)
        caller = _caller(request, ring)
        named = _named_by_proxy(request) if config.proxied_clients else ""
        if named and caller is not None:
            caller = Caller(named, caller.is_admin)
        request[CALLER] = caller or _keyless_caller(request, is_known=not needs_key)
        address = caller.name if caller else _client_address(request)
        CALLER_OF_QUEUE.set(named or address)
        # A browser's CORS preflight cannot carry a key.
        if pattern not in _PUBLIC and request.method != "OPTIONS":
            require_known(request)
        if pattern in _ADMIN:
            require_admin(request)
        return await handler(request)

    return check


def require_known(request: web.Request) -> None:
    """Raise AuthenticationError if keys are set and the request carries none of them."""
    if not request[CALLER].is_known:
        raise AuthenticationError(was_given=_key(request) is not None)


def require_admin(request: web.Request) -> None:
    """Raise ForbiddenError if admin keys are set and the request carries none of them."""
    if not is_admin(request):
        raise ForbiddenError(
            "this request needs an admin key; an ordinary API key may chat and read, but not "
            "load or unload models",
            code="admin_key_required",
        )


def is_admin(request: web.Request) -> bool:
    """Whether the caller may load and unload models; True for all if no admin keys are set."""
    return not request.app[CONFIG].admin_keys or request[CALLER].is_admin


def _caller(request: web.Request, ring: KeyRing) -> Caller | None:
    key = _key(request)
    return ring.find(key) if key else None


def _keyless_caller(request: web.Request, *, is_known: bool) -> Caller:
    """A caller without a valid key, named by the key it sent, its X-Client header or its address.

    The name lets the queue alternate fairly between clients of a server that has no keys.
    """
    if key := _key(request):
        return Caller(key_name(key), is_known=is_known)
    return Caller(_named_by_proxy(request) or request.remote or "local", is_known=is_known)


def _named_by_proxy(request: web.Request) -> str:
    """The client that a proxy names in X-Client; "" if it names none."""
    client = request.headers.get("X-Client", "")
    return f"client-{client}" if _CLIENT.fullmatch(client) else ""


def _client_address(request: web.Request) -> str:
    """The client's address; of IPv6 the first 64 bits, since one client may use all others."""
    try:
        address = ipaddress.ip_address(request.remote or "")
    except ValueError:
        return "local"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)


def _key(request: web.Request) -> str | None:
    """The request's key: a bearer token as OpenAI's clients send it, or Anthropic's X-Api-Key."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return request.headers.get("X-Api-Key", "").strip() or None


def _pattern(request: web.Request, prefix: str) -> str:
    resource = request.match_info.route.resource
    return resource.canonical.removeprefix(prefix) or "/" if resource else ""
