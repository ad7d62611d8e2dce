"""HeldRequests: requests of the page that wait until a test says so, as on a slow network."""

from types import TracebackType
from typing import TYPE_CHECKING

from tests.support.server_process import until

if TYPE_CHECKING:
    from playwright.sync_api import APIResponse, Page, Route


class HeldRequests:
    """Holds the page's requests for `pattern` while the context is open, from the first on, or only
    the first `most`; they arrive at the server at its end at the latest.
    """

    def __init__(self, page: "Page", pattern: str, most: int | None = None) -> None:
        self._page = page
        self._pattern = pattern
        self._most = most
        self._n_seen = 0
        self._held: list[Route] = []
        self._answered: list[tuple[Route, APIResponse]] = []

    def __enter__(self) -> "HeldRequests":
        self._page.route(self._pattern, self._take)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
        # Requests that have come since then go on with this.
        self._page.unroute(self._pattern, self._take)

    def wait(self) -> None:
        """Wait until a request is held."""

        def is_held() -> bool:
            self._page.wait_for_timeout(10)  # playwright takes events only during its calls
            return bool(self._held)

        until(is_held, f"a request for {self._pattern}")

    def answer(self) -> None:
        """Let the server answer what is held; the page gets the answers with the next release()."""
        self._answered += [(route, route.fetch()) for route in self._held]
        self._held.clear()

    def release(self) -> None:
        """Let the held requests go on; later ones are held as before."""
        held, self._held = self._held, []
        for route in held:
            route.continue_()
        answered, self._answered = self._answered, []
        for route, response in answered:
            route.fulfill(response=response)

    def _take(self, route: "Route") -> None:
        self._n_seen += 1
        if self._most is not None and self._n_seen > self._most:
            route.continue_()
        else:
            self._held.append(route)
