"""The way of a new user: open the address, type, read the answer."""

import pytest

from tests.browser.conftest import Open
from tests.support.browser import until_true
from tests.support.chat_page import ANSWER, ChatPage
from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.browser


def _url(server: ServerProcess) -> str:
    return f"http://127.0.0.1:{server.port}/"


def test_the_first_screen_is_a_chat_and_one_line_gets_an_answer(
    tiny: ServerProcess, open_page: Open
) -> None:
    page = open_page(_url(tiny)).page
    chat = ChatPage(page)
    # The message can be typed without a click.
    until_true(page, "document.activeElement.id === 'composer'")
    page.keyboard.type("Hello")
    page.keyboard.press("Enter")
    chat.wait_ended()
    assert len(chat.answer) > 3
    assert chat.texts[0] == "Hello"
    stats = page.locator(".stats").inner_text()
    assert "tokens/s" in stats
    assert "first token" in stats
    assert "prompt tokens cached" in stats
    assert page.url.partition("#/chat/")[2]


def test_the_second_question_reuses_the_first_ones_cells(
    tiny: ServerProcess, open_page: Open
) -> None:
    chat = ChatPage(open_page(_url(tiny)).page)
    chat.ask("Hello")
    chat.ask("What is the capital of France?")
    [_, cached] = [
        message["stats"]["cachedTokens"] for message in chat.stored() if message.get("stats")
    ]
    assert cached > 0
    assert len(chat.texts) == 4


def test_a_model_without_a_projector_gets_no_image(tiny: ServerProcess, open_page: Open) -> None:
    page = open_page(_url(tiny)).page
    chat = ChatPage(page)
    chat.ask("Hello")
    chat.choose("Files to attach", ("dot.png", "image/png", b"no image"))
    page.get_by_text("This model takes no images").wait_for()
    assert page.get_by_label("Send", exact=True).is_disabled()
    page.get_by_label("Remove dot.png").click()
    assert len(chat.ask("What is the capital of France?")) > 0


def test_a_reload_shows_the_chat_and_the_list_has_it(tiny: ServerProcess, open_page: Open) -> None:
    page = open_page(_url(tiny)).page
    chat = ChatPage(page)
    chat.ask("Hello")
    texts = chat.texts
    chat.reload()
    page.locator(ANSWER).wait_for()
    assert ChatPage(page).texts == texts
    assert page.locator(".chat-row.open a").inner_text() == "Hello"
    page.get_by_role("button", name="New chat").click()
    page.locator(".welcome").wait_for()
    assert page.locator(".message").count() == 0
    page.go_back()
    page.locator(ANSWER).wait_for()
    assert ChatPage(page).texts == texts


def test_stop_keeps_the_text_and_continue_goes_on_from_it(
    tiny: ServerProcess, open_page: Open
) -> None:
    page = open_page(_url(tiny)).page
    chat = ChatPage(page)
    page.get_by_label("Settings of this chat").first.click()
    page.get_by_label("Longest answer").fill("4")
    page.get_by_label("Temperature").fill("0")
    page.get_by_label("Close the settings").click()
    first = chat.ask("What is the capital of France?")
    assert [m["finish"] for m in chat.stored() if m["role"] == "assistant"] == ["length"]
    page.get_by_label("Settings of this chat").first.click()
    page.get_by_label("Longest answer").fill("-1")
    page.get_by_label("Close the settings").click()
    chat.action("Continue").click()
    chat.wait_ended()
    assert chat.answer.startswith(first)
    assert len(chat.answer) > len(first)
