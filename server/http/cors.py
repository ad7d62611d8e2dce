"""CORS: which web pages of other origins may use the server from a browser."""

from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from server.config import ServerConfig
from server.errors import ForbiddenError
from server.http.app_keys import ALLOWED_ORIGIN, CONFIG
from server.listening.addresses import is_loopback

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_APP_SCHEMES = frozenset(
    {
        *("app", "capacitor", "electron", "file", "ionic", "tauri"),
        *("vscode-file", "vscode-webview"),
        *("chrome-extension", "moz-extension", "safari-web-extension"),
    }
)
_PREFLIGHT_SECONDS = "600"
_EXPOSED = "X-Request-Id, Retry-After, X-Llamabind-Warnings"


def require_origin(config: ServerConfig) -> Middleware:
    """Answers CORS preflights, and refuses changing requests from pages that are not allowed.

    Without CORS headers a browser hides the answers from a page, but still sends its "simple"
    requests: a page that posts text/plain could otherwise load a model.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is None:
            return await handler(request)
        is_preflight = (
            request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        )
        if is_allowed(origin, config):
            request[ALLOWED_ORIGIN] = origin
            if is_preflight:
                return web.Response(headers=_preflight(request, config))
        elif is_preflight:
            # Without CORS headers the browser does not send the request. A preflight has no key, so
            # the answer must not be the error for a missing key.
            return web.Response()
        elif request.method not in _SAFE_METHODS and not _is_same_origin(request, origin):
            raise ForbiddenError(
                f"web pages of origin {origin[:200]!r} may not use this server; add the origin to "
                "--cors-origins",
                code="origin_not_allowed",
            )
        return await handler(request)

    return check


async def send_cors_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal on_response_prepare: lets an allowed page read the answer, errors included."""
    response.headers.add("Vary", "Origin")
    if (origin := request.get(ALLOWED_ORIGIN)) is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        if request.app[CONFIG].cors_credentials:
            response.headers["Access-Control-Allow-Credentials"] = "true"


def is_allowed(origin: str, config: ServerConfig) -> bool:
    """Whether pages of `origin` may use the server."""
    if "*" in config.cors_origins or origin in config.cors_origins:
        return True
    if "apps" in config.cors_origins and _is_app(origin):
        return True
    return "localhost" in config.cors_origins and _is_loopback_origin(origin)


def _is_app(origin: str) -> bool:
    """Whether `origin` is a desktop or mobile app's: of a scheme that no website can have."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    # A page from a file has the origin "null". Tauri serves its page from this name on Windows.
    return origin == "null" or parts.scheme in _APP_SCHEMES or parts.hostname == "tauri.localhost"


def _is_loopback_origin(origin: str) -> bool:
    try:
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and is_loopback(parts.hostname or "")
    except ValueError:
        return False


def _is_same_origin(request: web.Request, origin: str) -> bool:
    """Whether the page was served by this server: its origin equals the Host header."""
    try:
        return urlsplit(origin).netloc.lower() == request.headers.get("Host", "").lower()
    except ValueError:
        return False


def _preflight(request: web.Request, config: ServerConfig) -> dict[str, str]:
    wanted = request.headers.get("Access-Control-Request-Headers", "")
    headers = {
        "Access-Control-Allow-Methods": config.cors_methods,
        "Access-Control-Allow-Headers": wanted
        if config.cors_headers == "*"
        else config.cors_headers,
        "Access-Control-Max-Age": _PREFLIGHT_SECONDS,
    }
    if "Access-Control-Request-Private-Network" in request.headers:
        headers["Access-Control-Allow-Private-Network"] = "true"
    return headers
