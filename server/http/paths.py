"""Paths as clients write them: with double slashes, or with a slash at the end."""

import re
from collections.abc import Iterator
from typing import Any, Final

from aiohttp import web
from yarl import URL

from server.http.app_keys import CONFIG

_SLASHES: Final = re.compile("/{2,}")


def plain_path(path: str) -> str:
    """`path` with single slashes, and without one at its end."""
    return _SLASHES.sub("/", path).rstrip("/") or "/"


def api_path(request: web.Request) -> str:
    """The plain path of a request, without the prefix of --api-prefix."""
    return plain_path(request.path).removeprefix(request.app[CONFIG].api_prefix) or "/"


class AnySpelling(web.AbstractResource):
    """A route for every other spelling of a path: the one of its plain spelling.

    Clients join a base URL and a path in different ways, and most follow no redirect of a POST.
    """

    def __init__(self, router: web.UrlDispatcher) -> None:
        super().__init__()
        self._router = router

    async def resolve(self, request: web.Request) -> Any:
        """aiohttp's (match, allowed methods); (None, nothing) for a path that is plain already."""
        written = request.rel_url.raw_path
        plain = plain_path(written)
        if plain == written:
            return None, set()
        plainly = request.clone(rel_url=URL.build(path=plain, encoded=True))
        return await self._router.resolve(plainly), set()

    @property
    def canonical(self) -> str:
        """The path from which aiohttp tries this resource: the last of all."""
        return "/"

    def url_for(self, **_: str) -> URL:
        """The root, since no URL is made for this resource."""
        return URL("/")

    def add_prefix(self, prefix: str) -> None:
        """Do nothing: the server's prefix is in the paths of its routes."""

    def get_info(self) -> Any:
        """No details."""
        return {}

    def raw_match(self, path: str) -> bool:  # noqa: ARG002 - no path is this resource's own
        """False."""
        return False

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[web.AbstractRoute]:
        return iter(())
