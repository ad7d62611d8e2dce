"""The handlers of the web page: /, /ui/... and /favicon.ico.

They need no key: the page asks for one and sends it with each request to the API.
"""

from typing import Final

from aiohttp import ETag, web

from server.http.app_keys import CONFIG
from server.web.files import INDEX, WebFile, web_files

_RUNNING: Final = "llamabind is running"
# The page loads its own files only, and sends requests to its own server only. Nothing inline and
# no eval; blob: and data: are images and audio that the user attaches.
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        # No text becomes elements or code but through DOMPurify.
        "require-trusted-types-for 'script'",
        "trusted-types dompurify",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# The browser keeps the page, and asks each time whether it changed. The page names its files by
# addresses with a hash of all of them; these never change, so the browser asks for them once.
_ASK: Final = "no-cache"
_KEEP: Final = "public, max-age=31536000, immutable"


async def root(request: web.Request) -> web.Response:
    """GET / and HEAD /: the page for browsers, otherwise a line by which Ollama's clients see that
    a server runs.
    """
    if not request.app[CONFIG].ui or "text/html" not in request.headers.get("Accept", ""):
        return web.Response(text=_RUNNING, headers={"Vary": "Accept"})
    if not request.rel_url.raw_path.endswith("/"):
        # With --api-prefix: the page's links are relative, so that it also works behind a proxy.
        path = request.rel_url.raw_path.rpartition("/")[2]
        return web.Response(status=302, headers={"Location": f"{path}/", "Vary": "Accept"})
    answer = _answer(request, web_files().files[INDEX], _ASK)
    answer.headers["Vary"] = "Accept"
    return answer


async def asset(request: web.Request) -> web.Response:
    """GET /ui/{file}: a script, style sheet or image of the page; the page's own addresses have
    the version in front of the path.
    """
    return _find(request, request.match_info["file"])


async def favicon(request: web.Request) -> web.Response:
    """GET /favicon.ico, which browsers request for /docs too: the page's icon, an SVG."""
    return _find(request, "icon.svg")


def _find(request: web.Request, name: str) -> web.Response:
    file, has_version = web_files().find(name)
    if file is None or not request.app[CONFIG].ui:
        raise web.HTTPNotFound
    return _answer(request, file, _KEEP if has_version else _ASK)


def _answer(request: web.Request, file: WebFile, caching: str) -> web.Response:
    headers = _HEADERS | {"Cache-Control": caching}
    known = request.if_none_match or ()
    if any(tag.value in (file.etag, "*") for tag in known):
        answer = web.Response(status=304, headers=headers)
    else:
        answer = web.Response(
            body=file.content, content_type=file.content_type, charset="utf-8", headers=headers
        )
    answer.etag = ETag(file.etag)
    return answer
