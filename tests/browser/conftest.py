"""Fixtures of the tests in a real browser."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import Watched, browser
from tests.support.browser_profiles import Profiles, profiles
from tests.support.gguf_files import write_gguf
from tests.support.scripted_server import ScriptedServer
from tests.support.server_process import ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# A page, and all that it must not do: `watched.page` is the page.
Open = Callable[..., Watched]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse other tests: playwright's event loop runs on, and asyncio tests need their own."""
    if not all(item.get_closest_marker("browser") for item in items):
        raise pytest.UsageError("run tests/browser in a call of its own, without other tests")


@pytest.fixture(scope="session")
def chromium() -> Iterator["Browser"]:
    with browser() as started:
        yield started


@pytest.fixture(scope="session")
def kept_profiles(chromium: "Browser") -> Iterator[Profiles]:
    with profiles(chromium) as kept:
        yield kept


@pytest.fixture
def open_page(kept_profiles: Profiles) -> Iterator[Open]:
    """Opens a page of a server in a profile of its own, without data of earlier tests. At the end
    of the test no page may have had an exception, a report of its policy, or a request to another
    host.
    """
    pages: list[tuple[Watched, str]] = []

    def opened(url: str, **options: Any) -> Watched:
        watched = kept_profiles.open(url, **options)
        pages.append((watched, url.split("/")[2]))
        return watched

    yield opened
    results = [(list(one.problems), one.hosts - {host, ""}) for one, host in pages]
    kept_profiles.give_back()
    for problems, hosts in results:
        assert problems == []
        assert hosts == set()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the bundled model."""
    with ServerProcess(tmp_path_factory.mktemp("tiny")) as server:
        yield server


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedServer]:
    """A server with one model, m.gguf, whose answers are scripted (fake_worker.py)."""
    folder = tmp_path_factory.mktemp("scripted")
    write_gguf(folder / "m.gguf")
    with ScriptedServer(folder) as server:
        yield server
