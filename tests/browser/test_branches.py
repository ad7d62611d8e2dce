"""Answering again, editing, branches, and the list of chats."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.support.browser import until_true
from tests.support.chat_page import ChatPage
from tests.support.scripted_server import ScriptedServer

pytestmark = pytest.mark.browser


@pytest.fixture
def chat(scripted: ScriptedServer, open_page: Open) -> ChatPage:
    return ChatPage(open_page(scripted.url).page)


def test_another_answer_is_a_branch_of_its_own(chat: ChatPage) -> None:
    chat.ask("echo: one two")
    chat.action("Answer again").click()
    chat.page.get_by_label("Branch 2 of 2").wait_for()
    chat.wait_ended()
    assert chat.texts == ["echo: one two", "one two"]
    chat.action("Previous branch").click()
    chat.page.get_by_label("Branch 1 of 2").wait_for()
    chat.ask("echo: three")
    assert len(chat.texts) == 4
    # The later messages belong to the first branch only.
    chat.page.get_by_role("button", name="Next branch").click()
    assert chat.texts == ["echo: one two", "one two"]
    chat.page.get_by_role("button", name="Previous branch").click()
    assert chat.texts[2:] == ["echo: three", "three"]
    chat.reload()
    chat.page.get_by_label("Branch 1 of 2").wait_for()
    assert chat.texts[2:] == ["echo: three", "three"]


def test_an_edited_question_is_a_branch_with_its_own_answer(chat: ChatPage) -> None:
    chat.ask("echo: one")
    chat.page.get_by_role("article", name="You").get_by_label("Edit as a new branch").click()
    field = chat.page.get_by_label("Change this message")
    field.fill("echo: two")
    field.press("Control+Enter")
    chat.page.get_by_label("Branch 2 of 2").wait_for()
    chat.wait_ended()
    assert chat.texts == ["echo: two", "two"]
    chat.page.get_by_role("button", name="Previous branch").click()
    assert chat.texts == ["echo: one", "one"]


def test_an_edited_answer_is_what_the_model_gets(chat: ChatPage) -> None:
    chat.ask("echo: one")
    chat.action("Edit as a new branch").click()
    chat.page.get_by_label("Change this message").fill("changed")
    chat.page.get_by_role("button", name="Save as a new branch").click()
    with chat.page.expect_request("**/stream") as sent:
        chat.ask("echo: three")
    assert [
        message["content"] for message in json.loads(sent.value.post_data or "")["messages"]
    ] == [
        "echo: one",
        "changed",
        "echo: three",
    ]


def test_a_chat_is_renamed_deleted_and_brought_back(chat: ChatPage) -> None:
    page = chat.page
    chat.ask("echo: one")
    page.get_by_label("Rename echo: one").click()
    page.get_by_label("New title").fill("A better name")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="A better name").wait_for()
    page.get_by_label("Delete A better name").click()
    page.locator(".welcome").wait_for()
    assert chat.stored() == []
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("link", name="A better name").click()
    page.locator(".message").first.wait_for()
    assert chat.texts == ["echo: one", "one"]


def test_search_finds_titles_and_words_of_messages(chat: ChatPage) -> None:
    page = chat.page
    for text in ("echo: apple pie", "echo: banana"):
        page.get_by_role("button", name="New chat").click()
        chat.ask(text)
    page.get_by_label("Rename echo: banana").click()
    page.get_by_label("New title").fill("Fruit")
    page.keyboard.press("Enter")
    rows = page.locator(".chat-row a")
    page.get_by_label("Search chats").fill("APPLE")
    until_true(page, "document.querySelectorAll('.chat-row').length === 1")
    assert rows.all_inner_texts() == ["echo: apple pie"]
    page.get_by_label("Search chats").fill("banana")
    until_true(page, "document.querySelector('.chat-row a')?.textContent === 'Fruit'")
    page.get_by_label("Search chats").fill("cherry")
    page.get_by_text("No chat has these words.").wait_for()


def test_an_export_is_imported_by_another_browser_once(
    chat: ChatPage, scripted: ScriptedServer, open_page: Open, tmp_path: Path
) -> None:
    chat.ask("echo: one")
    chat.action("Answer again").click()
    chat.page.get_by_label("Branch 2 of 2").wait_for()
    chat.wait_ended()
    with chat.page.expect_download() as download:
        chat.page.get_by_role("button", name="Export").click()
    file = tmp_path / "chats.json"
    download.value.save_as(file)
    other = ChatPage(open_page(scripted.url).page)
    for words in ("Imported 1 chat.", "Imported 0 chats; 1 chat already here."):
        other.page.get_by_label("File of chats to import").set_input_files(file)
        other.page.get_by_text(words).wait_for()
    other.page.get_by_role("link", name="echo: one").click()
    other.page.get_by_label("Branch 2 of 2").wait_for()
    assert other.texts == ["echo: one", "one"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "it is not JSON"),
        ("[]", "it is not a file of the format"),
        ('{"format": "llamabind-chats", "version": 9, "conversations": []}', "it has version 9"),
        (
            '{"format": "llamabind-chats", "version": 1, "conversations": [{"id": "<b>"}]}',
            "a conversation has no valid id",
        ),
        (
            '{"format": "llamabind-chats", "version": 1, "conversations": [{"id": 5}]}',
            "a conversation has no valid id",
        ),
    ],
)
def test_a_file_that_is_no_export_is_refused_with_a_sentence(
    chat: ChatPage, tmp_path: Path, text: str, why: str
) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    chat.page.get_by_label("File of chats to import").set_input_files(file)
    chat.page.get_by_text(f"other.json cannot be imported: {why}").wait_for()


def test_a_chat_that_is_open_in_two_tabs_is_the_same_in_both(
    scripted: ScriptedServer, open_page: Open
) -> None:
    watched = open_page(scripted.url)
    first = ChatPage(watched.page)
    first.ask("echo: one")
    other_page = watched.open()
    other_page.goto(first.page.url)
    second = ChatPage(other_page)
    second.wait_for_text("one")
    second.ask("echo: two")
    first.wait_for_text("two")
    first.ask("echo: three")
    second.wait_for_text("three")
    assert second.texts == ["echo: one", "one", "echo: two", "two", "echo: three", "three"]
    assert other_page.get_by_label("Branch 1 of").count() == 0
    second.page.get_by_label("Delete echo: one").click()
    first.page.get_by_text("What would you like to know?").wait_for()
    assert first.ask("echo: new") == "new"
    assert first.texts == ["echo: new", "new"]


def _import(chat: ChatPage, *conversations: dict[str, Any]) -> None:
    document = {"format": "llamabind-chats", "version": 1, "conversations": conversations}
    file = ("chats.json", "application/json", json.dumps(document).encode())
    chat.choose("File of chats to import", file)


def test_a_file_with_one_wrong_chat_adds_none_of_them(chat: ChatPage) -> None:
    _import(chat, {"id": "good", "title": "A good one"}, {"id": "bad", "messages": [{"id": "<b>"}]})
    chat.page.get_by_text("chats.json cannot be imported: a message has no valid id").wait_for()
    chat.page.reload()
    chat.page.get_by_text("Your chats appear here.").wait_for()


def test_an_imported_chat_of_odd_types_and_endless_branches_can_be_used(chat: ChatPage) -> None:
    def message(name: str, parent: str) -> dict[str, str]:
        return {"id": name, "parent": parent, "role": "user", "content": f"message {name}"}

    # d and b answer a, and a answers c, which answers b.
    messages = [message(*pair) for pair in (("a", "c"), ("d", "a"), ("b", "a"), ("c", "b"))]
    title = "<b>x</b>\u202e" + "t" * 10_000
    settings = {"stop": 5, "schema": 7, "tools": 9, "temperature": 0, "reasoning": 1, "system": 3}
    one = {"id": "odd", "title": title, "leaf": "d", "messages": messages, "settings": settings}
    _import(chat, one, {"id": "none", "messages": 5})
    chat.page.locator("[data-chat=odd]").click()
    chat.page.get_by_label("Branch 1 of 2").get_by_label("Next branch").click()
    chat.page.get_by_label("Branch 2 of 2").wait_for()
    assert chat.ask("echo: still here") == "still here"
    assert chat.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_chat_deleted_in_mid_answer_stays_deleted(chat: ChatPage) -> None:
    page = chat.page
    chat.send("forever")
    until_true(page, "document.querySelector('.markdown')?.textContent.length > 40")
    page.get_by_label("Delete forever").click()
    page.locator(".welcome").wait_for()
    assert chat.ask("echo: other") == "other"
    assert {message["content"] for message in chat.stored()} == {"echo: other", "other"}
    assert page.locator(".chat-row a").all_inner_texts() == ["echo: other"]
