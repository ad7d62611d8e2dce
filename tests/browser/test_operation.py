"""The chat by keyboard alone, at a phone's width, in both colours; all that a message may have."""

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Open
from tests.support.browser import until_text, until_true
from tests.support.chat_page import ANSWER, ChatPage
from tests.support.gguf_files import write_gguf
from tests.support.scripted_server import ScriptedServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_PHONE = {"width": 375, "height": 667}


@pytest.fixture
def chat(scripted: ScriptedServer, open_page: Open) -> ChatPage:
    return ChatPage(open_page(scripted.url).page)


def _focused(page: "Page") -> str:
    """The accessible name of the element that has the focus."""
    name: str = page.evaluate(
        """() => {
          const element = document.activeElement;
          const label = element.getAttribute("aria-label") || element.labels?.[0]?.textContent;
          return (label || element.textContent || element.id).trim();
        }"""
    )
    return name


def _tab_to(page: "Page", name: str) -> None:
    for _ in range(60):
        if _focused(page) == name:
            return
        page.keyboard.press("Tab")
        shown = page.evaluate(
            """() => {
              const style = getComputedStyle(document.activeElement);
              return document.activeElement === document.body ||
                document.activeElement.id === "composer" ||
                (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1);
            }"""
        )
        assert shown, f"the focus on {_focused(page)!r} is not visible"
    raise AssertionError(f"Tab does not reach {name!r}")


def test_everything_works_by_keyboard(chat: ChatPage) -> None:
    page = chat.page
    until_true(page, "document.activeElement.id === 'composer'")
    page.keyboard.type("echo: one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    chat.wait_ended()
    assert chat.texts[0] == "echo: one\ntwo"
    # Stop by Escape, from where the user writes.
    page.keyboard.type("forever")
    page.keyboard.press("Enter")
    until_true(page, f"document.querySelectorAll('{ANSWER}')[1]?.textContent.length > 40")
    page.keyboard.press("Escape")
    chat.wait_ended()
    assert chat.stored()[-1]["state"] == "stopped"
    # The last question is edited with the arrow key.
    page.keyboard.press("ArrowUp")
    page.get_by_label("Change this message").wait_for()
    assert _focused(page) == "Change this message"
    page.keyboard.press("Control+A")
    page.keyboard.type("echo: three")
    page.keyboard.press("Control+Enter")
    chat.wait_for_text("three")
    chat.wait_ended()
    _tab_to(page, "Previous branch")
    page.keyboard.press("Enter")
    chat.wait_for_text("word")
    # New chat and search have shortcuts.
    page.keyboard.press("Control+Shift+O")
    page.locator(".welcome").wait_for()
    until_true(page, "document.activeElement.id === 'composer'")
    page.keyboard.press("Control+K")
    until_true(page, "document.activeElement.id === 'search'")
    _tab_to(page, "echo: one")
    page.keyboard.press("Enter")
    page.locator(ANSWER).first.wait_for()
    _tab_to(page, "Delete echo: one")
    page.keyboard.press("Enter")
    page.locator(".welcome").wait_for()


def test_the_first_key_of_tab_skips_to_the_content(
    scripted: ScriptedServer, open_page: Open
) -> None:
    # On a narrow screen the page sets no focus by itself.
    page = open_page(scripted.url, viewport=_PHONE).page
    ChatPage(page)
    page.keyboard.press("Tab")
    assert _focused(page) == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_every_control_has_a_name(chat: ChatPage) -> None:
    chat.ask("echo: one")
    chat.page.get_by_label("Settings of this chat").first.click()
    nameless = chat.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, a")].filter(
          (element) => !element.getAttribute("aria-label") && !element.labels?.length &&
            !element.textContent.trim()
        ).map((element) => element.outerHTML)"""
    )
    assert nameless == []


def test_the_answer_is_read_to_a_screen_reader_block_by_block(chat: ChatPage) -> None:
    chat.ask("echo: one two\n\nthree four\n\nfive")
    lines = chat.page.locator("[aria-live=polite] p").all_inner_texts()
    assert " ".join(lines).split() == ["one", "two", "three", "four", "five"]
    chat.reload()
    chat.page.locator(ANSWER).wait_for()
    assert chat.page.locator("[aria-live=polite] p").count() == 0


def test_on_a_phone_nothing_is_cut_off(scripted: ScriptedServer, open_page: Open) -> None:
    page = open_page(scripted.url, viewport=_PHONE, has_touch=True).page
    chat = ChatPage(page)
    chat.ask("echo: " + "averylongword" * 30 + " | and `some code` too")
    for action in ("List of chats", "Close the list of chats"):
        page.get_by_label(action, exact=True).click()
    for action in ("Settings of this chat", "Close the settings"):
        page.get_by_label(action, exact=True).first.click()
        page.wait_for_timeout(50)
        assert page.evaluate("document.documentElement.scrollWidth") == _PHONE["width"]
    outside = page.evaluate(
        """() => [
          ...document.querySelectorAll(".conversation button, .composer, .message"),
        ].filter((element) => {
          const box = element.getBoundingClientRect();
          return box.width && (box.left < 0 || box.right > innerWidth);
        }).map((element) => element.outerHTML)"""
    )
    assert outside == []
    page.get_by_label("List of chats").click()
    page.get_by_role("button", name="New chat").click()
    page.locator(".sidebar").wait_for(state="hidden")
    page.locator(".welcome").wait_for()


def test_colours_follow_the_system_and_the_switch(chat: ChatPage) -> None:
    page = chat.page
    background = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(background)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(background)
    assert light != dark
    page.get_by_label("Colours: as the system; change to light").click()
    assert page.evaluate(background) == light
    page.reload()
    ChatPage(page)
    assert page.evaluate(background) == light
    page.get_by_label("Colours: light; change to dark").click()
    page.emulate_media(color_scheme="light")
    assert page.evaluate(background) == dark


def test_reasoning_is_folded_and_calls_are_shown(chat: ChatPage) -> None:
    page = chat.page
    chat.ask("echo: <r> hm well </r> text <weather> {} </weather>")
    reasoning = page.locator(".reasoning")
    assert reasoning.get_attribute("open") is None
    assert not reasoning.locator(".said").is_visible()
    reasoning.locator("summary").click()
    assert reasoning.locator(".said").inner_text() == "hmwell"
    call = page.locator(".call")
    assert call.locator("summary").inner_text() == "Calls weather"
    call.locator("summary").click()
    assert call.locator("pre").inner_text() == "{}"
    chat.reload()
    page.locator(".call").wait_for()
    with page.expect_request("**/stream") as sent:
        chat.ask("echo: on")
    assert _sent(sent.value)["messages"][1]["tool_calls"][0]["function"]["name"] == "weather"


def test_what_the_server_left_out_is_shown(chat: ChatPage) -> None:
    chat.ask("echo: warn")
    until_text(chat.page, ".warnings", "json_schema/format is not enforced")


def test_settings_are_sent_kept_and_checked(chat: ChatPage) -> None:
    page = chat.page
    page.get_by_label("Settings of this chat").first.click()
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_label("Temperature").fill("0.3")
    page.get_by_label("Stop strings").fill("END\nSTOP")
    page.get_by_label("JSON schema").fill('{"type": "object"}')
    page.get_by_label("Tools").fill("{}")
    page.get_by_text("Expected a JSON array").wait_for()
    page.get_by_label("Reasoning").select_option("Off")
    page.get_by_role("button", name="Use for new chats").click()
    page.get_by_label("Close the settings").click()
    for _ in range(2):
        with page.expect_request("**/stream") as sent:
            chat.ask("echo: one")
        body = _sent(sent.value)
        assert body["messages"][0] == {"role": "system", "content": "Be brief."}
        assert body["temperature"] == 0.3
        assert body["stop"] == ["END", "STOP"]
        assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
        assert body["enable_thinking"] is False
        assert "tools" not in body
        assert "top_p" not in body
        page.get_by_role("button", name="New chat").click()


def test_files_are_attached_shown_and_sent(chat: ChatPage) -> None:
    page = chat.page
    image = ("dot.png", "image/png", _PNG)
    notes = ("notes.txt", "text/plain", b"some notes")
    chat.choose("Files to attach", image, notes, ("film.mp4", "video/mp4", b"x"))
    page.get_by_text("film.mp4 is neither an image, audio nor a text.").wait_for()
    page.locator(".composer img[alt='dot.png']").wait_for()
    page.get_by_label("Remove dot.png").click()
    chat.choose("Files to attach", image)
    with page.expect_request("**/stream") as sent:
        chat.send("look")
    [message] = _sent(sent.value)["messages"]
    assert [part["type"] for part in message["content"]] == ["text", "image_url", "text"]
    assert message["content"][0]["text"] == "notes.txt:\n\nsome notes"
    url = message["content"][1]["image_url"]["url"]
    assert base64.b64decode(url.removeprefix("data:image/png;base64,")) == _PNG
    page.locator(".message.user img[alt='dot.png']").wait_for()
    chat.reload()
    page.locator(".message.user img[alt='dot.png']").wait_for()


def test_an_image_is_attached_by_paste_and_by_drop(chat: ChatPage) -> None:
    page = chat.page
    for event, field in (("paste", "clipboardData"), ("drop", "dataTransfer")):
        page.evaluate(
            """([kind, field, data]) => {
              const transfer = new DataTransfer();
              const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
              transfer.items.add(new File([bytes], `${kind}.png`, { type: "image/png" }));
              const Kind = kind === "paste" ? ClipboardEvent : DragEvent;
              document.getElementById("composer").dispatchEvent(
                new Kind(kind, { [field]: transfer, bubbles: true, cancelable: true }));
            }""",
            [event, field, base64.b64encode(_PNG).decode()],
        )
        page.locator(f".composer img[alt='{event}.png']").wait_for()


def _sent(request: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.post_data)
    assert re.search("/api/v2/chat/m.gguf/stream$", request.url)
    return body


def test_the_focus_is_never_lost(chat: ChatPage) -> None:
    page = chat.page
    chat.ask("echo: one")
    page.get_by_label("Settings of this chat").first.click()
    until_true(page, "document.activeElement.closest('.settings') !== null")
    page.keyboard.press("Escape")
    until_true(page, "document.activeElement.dataset.opens === 'settings'")
    chat.action("Edit as a new branch").click()
    until_true(page, "document.activeElement.closest('.editor') !== null")
    page.keyboard.press("Escape")
    until_true(page, "document.activeElement.id === 'composer'")
    page.get_by_label("Rename echo: one").click()
    until_true(page, "document.activeElement.className === 'rename'")
    page.keyboard.press("Escape")
    until_true(page, "document.activeElement.textContent === 'echo: one'")


def test_a_file_dropped_beside_the_message_is_attached_too(chat: ChatPage) -> None:
    chat.page.evaluate(
        """() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File(["some notes"], "notes.txt", { type: "text/plain" }));
          document.querySelector(".messages").dispatchEvent(
            new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }"""
    )
    chat.page.locator(".composer .file", has_text="notes.txt").wait_for()


def test_below_a_prefix_the_page_works_the_same(tmp_path: Path, open_page: Open) -> None:
    write_gguf(tmp_path / "m.gguf")
    with ScriptedServer(tmp_path, api_prefix="/llm") as server:
        page = open_page(f"{server.url}/llm").page
        assert ChatPage(page).ask("echo: below") == "below"
        assert page.url.startswith(f"{server.url}/llm/#/chat/")
