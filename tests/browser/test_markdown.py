"""Answers as Markdown: what a model writes can neither run, nor fetch, nor slow the page."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Open
from tests.support.browser import Watched, shown_briefly, until_true
from tests.support.chat_page import ChatPage
from tests.support.scripted_server import ScriptedServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

Answer = Callable[[str], Watched]
_HOSTILE = """\
<script>window.ran = "script"</script>

<img src=x onerror="window.ran = 'onerror'"> <svg onload="window.ran = 'svg'">
<script>window.ran = 1</script></svg>

[click](javascript:window.ran='link') [data](data:text/html,<script>window.ran=1</script>)
<javascript:alert(1)>

![tracker](http://tracker.invalid/pixel.png) <iframe src="http://frame.invalid/"></iframe>

<style>body { display: none }</style> <div style="position: fixed" id="composer">over</div>

<form action="http://form.invalid/"><input name=x></form> <base href="http://base.invalid/">
<a href=x onclick="window.ran=2">a</a>

<math><mtext><table><mglyph><style>
<img src=x onerror="window.ran='mxss'"></style></mglyph></table></mtext></math>

`<script>window.ran = "code"</script>`

```html
<script>window.ran = "fence"</script>
```

| a |
| - |
| <img src=x onerror="window.ran = 'table'"> |

[ref]: javascript:window.ran='ref'
[ref] and the end
"""


@pytest.fixture
def answer(scripted: ScriptedServer, open_page: Open) -> Answer:
    """Opens a chat whose answer is this text, as if a model had written it."""

    def asked(text: str) -> Watched:
        watched = open_page(scripted.url)

        def fulfil(route: Any) -> None:
            route.fulfill(content_type="text/event-stream", body=_events(text))

        watched.page.route("**/stream", fulfil)
        ChatPage(watched.page).ask("a question")
        return watched

    return asked


def _events(text: str) -> str:
    """The server's events of an answer in three pieces."""
    third = len(text) // 3 + 1
    deltas = [{"content": text[at : at + third]} for at in range(0, len(text), third)]
    chunks: list[Any] = [_chunk(delta, None) for delta in deltas]
    lines = [json.dumps(chunk) for chunk in (*chunks, _chunk({"content": ""}, "stop"))]
    return "".join(f"data: {line}\n\n" for line in (*lines, "[DONE]"))


def _chunk(delta: dict[str, str], reason: str | None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def _html(page: "Page") -> str:
    return page.locator(".markdown").inner_html()


def test_markdown_has_its_usual_form(answer: Answer) -> None:
    page = answer(
        "# Title\n\nA *word*, **two** and `code`.\n\n1. one\n2. two\n   - inner\n\n> said\n\n"
        "| a | b |\n|---|--:|\n| 1 | 2 |\n\n- [x] done\n\n```py\nprint(1)\n```\n\n"
        "[link](https://example.invalid/a?b=1) and a<br>break\n"
    ).page
    found = page.locator(".markdown")
    for selector, count in {
        "h1": 1, "em": 1, "strong": 1, "p > code": 1, "ol > li": 2, "ol ul li": 1, "blockquote": 1,
        "th": 2, "td": 2, "input[type=checkbox][disabled]": 1, ".code pre code": 1, "br": 1,
    }.items():  # fmt: skip
        assert found.locator(selector).count() == count, selector
    assert found.locator(".code-head span").inner_text() == "py"
    assert found.locator(".code code").text_content() == "print(1)"
    link = found.locator("a")
    assert link.get_attribute("href") == "https://example.invalid/a?b=1"
    assert link.get_attribute("target") == "_blank"
    assert link.get_attribute("rel") == "noopener noreferrer nofollow"


def test_hostile_markdown_runs_nothing_and_fetches_nothing(answer: Answer) -> None:
    # open_page's end asserts that there was no report of the policy and no request elsewhere.
    page = answer(_HOSTILE).page
    ChatPage(page).reload()
    page.locator(".markdown p").first.wait_for()
    assert page.evaluate("window.ran") is None
    found = page.locator(".markdown")
    for selector in ("script", "img", "svg", "iframe", "style", "form", "math", "base", "[style]"):
        assert found.locator(selector).count() == 0, selector
    assert found.locator("#composer").count() == 0
    html = _html(page)
    for link in found.locator("a").all():
        assert (link.get_attribute("href") or "").startswith("http"), html
    # The image of another host is a link; raw HTML is shown as text.
    assert found.get_by_role("link", name="tracker").get_attribute("href") == (
        "http://tracker.invalid/pixel.png"
    )
    assert "onerror=" in found.inner_text()
    assert "and the end" in found.inner_text()
    assert page.locator("#composer").is_visible()


def test_an_inline_image_is_shown(answer: Answer) -> None:
    pixel = (
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5Erk"
        "Jggg=="
    )
    page = answer(f"![dot](data:image/png;base64,{pixel})").page
    until_true(page, "document.querySelector('.markdown img[alt=dot]')?.naturalWidth === 1")


@pytest.mark.parametrize(
    "text",
    ["x" * 1_000_000, "word " * 200_000, "_a_" * 20_000, "> " * 20_000 + "x", "1. " * 20_000,
     "[" * 100_000, "- " * 30_000, "<a " * 50_000, "`" * 50_000, "a\n" * 50_000],
    ids=["one word", "one line", "emphasis", "quotes", "numbers", "brackets", "lists", "tags",
         "ticks", "lines"],
)  # fmt: skip
def test_a_huge_answer_leaves_the_page_usable(answer: Answer, text: str) -> None:
    page = answer(text).page
    shown = page.locator(".markdown").evaluate("element => element.textContent.length")
    assert shown > len(text) / 3
    page.locator("#composer").fill("still here")
    assert page.locator("#composer").input_value() == "still here"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_code_block_is_copied(answer: Answer) -> None:
    watched = answer("```sh\necho one\n\necho two\n```\n")
    watched.context.grant_permissions(["clipboard-read", "clipboard-write"])
    with shown_briefly(watched.page, "Copied"):
        watched.page.get_by_role("button", name="Copy", exact=True).first.click()
    assert watched.page.evaluate("navigator.clipboard.readText()") == "echo one\n\necho two"
