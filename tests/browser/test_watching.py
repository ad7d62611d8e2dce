"""What every test of this folder relies on: a violation of the page's policy is noticed."""

import pytest

from tests.browser.conftest import Open
from tests.support.browser import until_true
from tests.support.chat_page import ChatPage
from tests.support.scripted_server import ScriptedServer

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("document.body.append(Object.assign(new Image(), {src: 'http://x.invalid/'}))", "img-src"),
        ("document.body.setAttribute('style', 'color: red')", "style-src"),
        ("setTimeout(() => { document.body.innerHTML = '<p>' })", "TrustedHTML"),
        ("fetch('http://x.invalid/').catch(() => {})", "connect-src"),
        ("setTimeout(() => { throw new Error('thrown') })", "thrown"),
    ],
)
def test_a_violation_is_noticed(
    scripted: ScriptedServer, open_page: Open, code: str, word: str
) -> None:
    watched = open_page(scripted.url)
    ChatPage(watched.page)
    assert watched.problems == []
    watched.page.evaluate(f"() => {{ {code} }}")
    until_true(watched.page, "true")
    while not watched.problems:
        watched.page.wait_for_timeout(20)
    assert any(word in problem for problem in watched.problems)
    # One violation may be reported twice, but not after its page has gone.
    watched.page.goto("about:blank")
    watched.problems.clear()
    watched.hosts.discard("x.invalid")
