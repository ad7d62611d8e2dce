"""Profiles: browser profiles that one test after another uses, each time as good as new.

A new profile has its own window and renderer process and has to fetch and compile all modules of
the page again: 0.95 seconds of CPU time until the page is open, against 0.4 in a kept one.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.support.browser import Watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_VIEWPORT = {"width": 1200, "height": 800}
# What a kept profile can change; other options need a new one.
_CHANGEABLE = {"viewport", "color_scheme"}


class Profiles:
    """Takes profiles for a test, and gets all of them back at its end."""

    def __init__(self, browser: "Browser", resting: str) -> None:
        self._browser = browser
        self._resting = resting
        self._kept: list[Watched] = []
        self._taken: list[Watched] = []
        self._others: list[Watched] = []

    def open(self, url: str, *, fresh: bool = False, **options: Any) -> Watched:
        """Open a page in a profile without any data of its origin. `fresh` is a new profile, for
        tests that change what give_back() cannot restore, or that measure time.
        """
        options = {"viewport": _VIEWPORT} | options
        if fresh or options.keys() - _CHANGEABLE:
            watched = Watched(self._browser, **options)
            self._others.append(watched)
        elif self._kept:
            watched = self._kept.pop()
            self._taken.append(watched)
            _prepare(watched, url, **options)
        else:
            watched = Watched(self._browser, **options)
            self._taken.append(watched)
        watched.page.goto(url)
        return watched

    def give_back(self) -> None:
        """End the pages of the test."""
        for watched in self._others:
            watched.close()
        self._others.clear()
        for watched in self._taken:
            if _leave(watched, self._resting):
                self._kept.append(watched)
            else:
                watched.close()
        self._taken.clear()


@contextmanager
def profiles(browser: "Browser") -> Iterator[Profiles]:
    """The profiles of a browser, and a page on which they wait for the next test."""
    # Its site is that of the tested servers, which differ by their ports only: on a page such as
    # about:blank the browser would change the renderer process.
    with ThreadingHTTPServer(("127.0.0.1", 0), _Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Profiles(browser, f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()


class _Empty(BaseHTTPRequestHandler):
    """Answers each request with an empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _prepare(
    watched: Watched, url: str, *, viewport: dict[str, int], color_scheme: str = "light"
) -> None:
    page = watched.page
    watched.devtools.send(
        "Storage.clearDataForOrigin",
        {
            "origin": "/".join(url.split("/")[:3]),
            "storageTypes": "indexeddb,local_storage,cookies,cache_storage",
        },
    )
    page.emulate_media(color_scheme=color_scheme)  # type: ignore[arg-type]
    if page.viewport_size != viewport:
        page.set_viewport_size(viewport)  # type: ignore[arg-type]
    page.mouse.move(0, 0)
    watched.problems.clear()
    watched.hosts.clear()


def _leave(watched: Watched, resting: str) -> bool:
    """End what runs in the profile and remove what a test has changed; False if it has gone."""
    from playwright.sync_api import Error

    page = watched.page
    try:
        for other in watched.context.pages:
            if other is not page:
                other.close()
        page.unroute_all()
        watched.context.clear_permissions()
        # Not an origin without storage, such as about:blank.
        page.evaluate("location.protocol.startsWith('http') && sessionStorage.clear()")
        page.goto(resting)
    except Error:
        return False
    return True
