"""What every test of this folder relies on: a kept profile has nothing of an earlier test, and a
page fetches its modules at once.
"""

from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Open
from tests.support.browser import until_true
from tests.support.browser_profiles import Profiles
from tests.support.chat_page import ANSWER, ChatPage
from tests.support.scripted_server import ScriptedServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

_SCRIPTS = """() => performance.getEntriesByType("resource").map((entry) => entry.name)
  .filter((name) => /\\.m?js$/.test(name) && !name.endsWith("theme.js")).sort()"""
_PRELOADED = """() => [...document.querySelectorAll("link[rel=modulepreload]")]
  .map((link) => link.href).sort()"""


def _kept(page: "Page") -> dict[str, object]:
    found: dict[str, object] = page.evaluate(
        """async () => ({
          databases: (await indexedDB.databases()).map((one) => one.name),
          lasting: localStorage.length,
          untilClosed: sessionStorage.length,
          cookies: document.cookie,
          clipboard: (await navigator.permissions.query({name: "clipboard-read"})).state,
          width: innerWidth,
          isDark: matchMedia("(prefers-color-scheme: dark)").matches,
        })"""
    )
    return found


def test_a_kept_profile_has_nothing_of_the_test_before(
    kept_profiles: Profiles, scripted: ScriptedServer
) -> None:
    address = f"{scripted.url}/ui/icon.svg"
    first = kept_profiles.open(address)
    new = _kept(first.page)
    first.page.goto(scripted.url)
    chat = ChatPage(first.page)
    chat.ask("echo: one")
    chat.page.get_by_label("Colours: as the system; change to light").click()
    chat.page.evaluate("sessionStorage.setItem('a', 'b'); document.cookie = 'a=b'")
    chat.page.set_viewport_size({"width": 375, "height": 667})
    chat.page.emulate_media(color_scheme="dark")
    chat.page.route("**/stream", lambda route: route.abort())
    first.context.grant_permissions(["clipboard-read"])
    first.open()
    assert all(value != new[name] for name, value in _kept(chat.page).items())
    kept_profiles.give_back()
    second = kept_profiles.open(address)
    assert second is first
    assert _kept(second.page) == new
    assert second.context.pages == [second.page]
    second.page.goto(scripted.url)
    chat = ChatPage(second.page)
    assert second.page.locator(ANSWER).count() == 0
    assert chat.ask("echo: two") == "two"
    kept_profiles.give_back()


def test_a_test_that_opens_two_pages_gets_two_profiles(
    open_page: Open, scripted: ScriptedServer
) -> None:
    for text in ("echo: one", "echo: two"):
        chat = ChatPage(open_page(scripted.url).page)
        chat.ask(text)
        assert [message["content"] for message in chat.stored()][:1] == [text]


@pytest.mark.parametrize("tab", ["chat", "models", "get", "machine"])
def test_a_tab_fetches_the_modules_that_the_page_lists_and_no_others(
    open_page: Open, scripted: ScriptedServer, tab: str
) -> None:
    page = open_page(f"{scripted.url}/#/{tab}").page
    until_true(page, "document.querySelector('main').childElementCount > 0")
    fetched = page.evaluate(_SCRIPTS)
    assert len(fetched) > 20
    assert page.evaluate(_PRELOADED) == sorted(set(fetched))


def test_another_load_of_the_page_asks_for_none_of_its_files(
    open_page: Open, scripted: ScriptedServer
) -> None:
    page = open_page(scripted.url).page
    ChatPage(page)
    page.reload()
    ChatPage(page)
    sizes = page.evaluate(
        """() => performance.getEntriesByType("resource")
          .filter((entry) => entry.name.includes("/ui/")).map((entry) => entry.transferSize)"""
    )
    assert len(sizes) > 50
    assert set(sizes) == {0}
