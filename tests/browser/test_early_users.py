"""A user may be faster than the server's first answers: the page never shows half of them, and an
answer that comes late never takes the place of a newer one.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import Open
from tests.support.browser import until_true
from tests.support.chat_page import ChatPage
from tests.support.gguf_files import write_gguf
from tests.support.held_requests import HeldRequests
from tests.support.models_page import ModelsPage
from tests.support.scripted_server import ScriptedServer
from tests.support.v2_requests import write_models

pytestmark = pytest.mark.browser

_LIST = "**/api/v2/models"
_LIST_AND_EVENTS = "**/api/v2/{events,models}"
_KEY = "the-key"
# Each text that a heading of the page had in any of its frames.
_WATCH_HEADINGS = """() => {
  window.headings = new Set();
  const look = () => {
    window.headings.add(document.querySelector("main h1")?.textContent);
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""
# The list of chats is read, but arrives only at release().
_HOLD_CHATS = """
const getAll = IDBObjectStore.prototype.getAll;
IDBObjectStore.prototype.getAll = function (...given) {
  const request = getAll.apply(this, given);
  if (this.name !== "conversations") return request;
  const late = { get result() { return request.result; } };
  Promise.all([
    new Promise((resolve) => { request.onsuccess = resolve; }),
    new Promise((resolve) => { window.release = resolve; }),
  ]).then(() => late.onsuccess());
  return late;
};
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedServer]:
    write_models(tmp_path)
    with ScriptedServer(tmp_path) as started:
        yield started


def test_an_embedding_model_never_becomes_the_model_of_a_chat(
    tmp_path: Path, open_page: Open
) -> None:
    write_gguf(tmp_path / "a.gguf", general__architecture="bert")
    write_gguf(tmp_path / "m.gguf")
    with ScriptedServer(tmp_path) as server:
        page = open_page(server.url).page
        # The events come first and do not say what a model can do.
        with HeldRequests(page, _LIST) as held:
            page.reload()
            chat = ChatPage(page)
            held.wait()
        assert chat.ask("echo: right") == "right"
        assert page.get_by_label("Model", exact=True).input_value() == "m.gguf"


def test_a_chat_never_says_that_there_is_no_model_while_there_is_one(
    server: ScriptedServer, open_page: Open
) -> None:
    page = open_page(server.url).page
    with HeldRequests(page, _LIST_AND_EVENTS) as held:
        page.reload()
        ChatPage(page)
        page.evaluate(_WATCH_HEADINGS)
        held.wait()
    page.get_by_role("heading", name="What would you like to know?").wait_for()
    until_true(page, "window.headings.has('What would you like to know?')")
    assert page.evaluate("window.headings.has('No model yet')") is False


def test_the_first_list_of_models_leaves_the_focus_where_it_is(
    server: ScriptedServer, open_page: Open
) -> None:
    page = open_page(server.url).page
    with HeldRequests(page, _LIST_AND_EVENTS) as held:
        page.reload()
        until_true(page, "document.activeElement.id === 'composer'")
        page.get_by_label("Search chats").focus()
        held.wait()
    page.get_by_role("heading", name="What would you like to know?").wait_for()
    page.keyboard.type("apple")
    assert page.get_by_label("Search chats").input_value() == "apple"


def test_files_can_be_dropped_from_the_first_drawing_on(
    server: ScriptedServer, open_page: Open
) -> None:
    watched = open_page(server.url, fresh=True)
    watched.context.add_init_script(
        """new MutationObserver((_, observer) => {
          const field = document.getElementById("composer");
          if (!field) return;
          observer.disconnect();
          const transfer = new DataTransfer();
          transfer.items.add(new File(["some notes"], "notes.txt", { type: "text/plain" }));
          field.dispatchEvent(
            new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }).observe(document, { subtree: true, childList: true });"""
    )
    watched.page.reload()
    watched.page.locator(".composer .file", has_text="notes.txt").wait_for()


def test_a_question_before_the_list_of_chats_stays_in_it(
    scripted: ScriptedServer, open_page: Open
) -> None:
    watched = open_page(scripted.url, fresh=True)
    chat = ChatPage(watched.page)
    for text in ("echo: deleted", "echo: kept"):
        chat.page.get_by_role("button", name="New chat").click()
        chat.ask(text)
    watched.context.add_init_script(_HOLD_CHATS)
    chat.reload()
    page = chat.page
    chat = ChatPage(page)
    page.get_by_role("button", name="New chat").click()
    chat.send("forever")
    page.get_by_role("link", name="forever").wait_for()
    page.evaluate("window.release()")
    page.get_by_role("link", name="echo: kept").wait_for()
    assert page.locator(".chat-row a").all_inner_texts() == [
        "forever",
        "echo: kept",
        "echo: deleted",
    ]
    page.get_by_label("Stop the answer").click()
    chat.wait_ended()


def test_a_new_title_stays_when_the_chat_goes_on(scripted: ScriptedServer, open_page: Open) -> None:
    chat = ChatPage(open_page(scripted.url).page)
    page = chat.page
    chat.send("forever")
    page.get_by_label("Rename forever").click()
    page.get_by_label("New title").fill("A better name")
    page.keyboard.press("Enter")
    page.get_by_label("Stop the answer").click()
    chat.wait_ended()
    assert page.locator(".chat-row a").all_inner_texts() == ["A better name"]
    chat.ask("echo: on")
    assert page.locator(".chat-row a").all_inner_texts() == ["A better name"]


def test_a_key_that_is_entered_before_the_refusal_comes_sends_the_question_again(
    tmp_path: Path, open_page: Open
) -> None:
    write_gguf(tmp_path / "m.gguf")
    with ScriptedServer(tmp_path, api_keys=[_KEY]) as server:
        page = open_page(server.url).page
        page.get_by_label("API key").wait_for()
        with (
            HeldRequests(page, "**/api/v2/events", most=1) as events,
            HeldRequests(page, _LIST, most=1) as first_list,
        ):
            page.reload()
            chat = ChatPage(page)
            chat.send("echo: in")
            first_list.wait()
            events.wait()
            events.release()
            page.get_by_label("API key").fill(_KEY)
            page.keyboard.press("Enter")
            page.locator(".model-state").wait_for()
        chat.wait_for_text("in")


def test_the_table_of_models_is_whole_from_the_beginning(
    server: ScriptedServer, open_page: Open
) -> None:
    page = open_page(f"{server.url}/#/models").page
    with HeldRequests(page, _LIST) as held:
        page.reload()
        page.get_by_text("Reading the list of models").wait_for()
        # An event of a model that the page does not know yet.
        page.evaluate("() => { fetch('api/v2/models/m.gguf/load', {method: 'POST'}); }")
        until_true(
            page,
            "fetch('api/v2/models/m.gguf').then((one) => one.json())"
            ".then((one) => one.status === 'loaded')",
        )
        held.wait()
        assert page.locator("tr[data-model]").count() == 0
    models = ModelsPage(page)
    models.wait_for_state("m.gguf", "Loaded")
    assert "2,048" in models.row("slow.gguf").inner_text()
    assert page.locator("tr[data-model]").count() == 7


def test_an_older_list_of_models_does_not_replace_a_newer_one(
    server: ScriptedServer, open_page: Open
) -> None:
    page = open_page(f"{server.url}/#/models").page
    models = ModelsPage(page)
    models.load("m.gguf")
    row = models.row("m.gguf")
    row.get_by_role("button", name="Keep in memory").wait_for()
    with HeldRequests(page, _LIST, most=1) as held:
        models.go("Machine")
        models.go("Models")
        held.wait()
        held.answer()
        row.get_by_role("button", name="Keep in memory").click()
        row.get_by_text("pinned").wait_for()
        with page.expect_response(_LIST):
            held.release()
        page.evaluate("fetch('api/v2/models').then((response) => response.json())")
        assert row.get_by_text("pinned").count() == 1


def test_older_details_of_a_model_do_not_replace_newer_ones(
    server: ScriptedServer, open_page: Open
) -> None:
    page = open_page(f"{server.url}/#/models").page
    models = ModelsPage(page)
    models.wait_for_state("m.gguf", "On disk")
    with HeldRequests(page, "**/api/v2/models/m.gguf", most=1) as held:
        models.row("m.gguf").get_by_role("button", name="m", exact=True).click()
        held.wait()
        held.answer()
        page.evaluate("() => { fetch('api/v2/models/m.gguf/load', {method: 'POST'}); }")
        dialog = page.locator("dialog")
        dialog.get_by_text("Effective settings").wait_for()
    page.evaluate("fetch('live').then((response) => response.text())")
    assert dialog.get_by_text("Effective settings").count() == 1


def test_an_older_list_of_errors_does_not_replace_a_newer_one(
    server: ScriptedServer, open_page: Open
) -> None:
    page = open_page(server.url).page
    with HeldRequests(page, "**/api/v2/health", most=1) as held:
        page.goto(f"{server.url}/#/machine")
        held.wait()
        held.answer()
        page.evaluate("() => { fetch('api/v2/models/oom.gguf/load', {method: 'POST'}); }")
        page.locator(".error-list li").wait_for()
    page.evaluate("fetch('live').then((response) => response.text())")
    assert page.locator(".error-list li").count() == 1


def test_a_load_can_be_cancelled_before_the_server_has_its_request(
    server: ScriptedServer, open_page: Open
) -> None:
    page = open_page(f"{server.url}/#/models").page
    models = ModelsPage(page)
    dialog = models.open_load("slow.gguf")
    with HeldRequests(page, "**/load?stream=true") as held:
        dialog.get_by_role("button", name="Load", exact=True).click()
        held.wait()
        with page.expect_response("**/unload"):
            dialog.get_by_role("button", name="Cancel the load").click()
    dialog.get_by_text("Cancelled", exact=True).wait_for()
    dialog.get_by_role("button", name="Load", exact=True).wait_for()


def test_examples_are_shown_once_they_name_a_model(server: ScriptedServer, open_page: Open) -> None:
    page = open_page(f"{server.url}/#/machine").page
    with HeldRequests(page, _LIST) as held:
        page.reload()
        page.get_by_role("heading", name="Machine").wait_for()
        held.wait()
        assert page.locator("[data-snippet]").count() == 0
    assert '"die.gguf"' in page.locator("[data-snippet=openai] pre").inner_text()
