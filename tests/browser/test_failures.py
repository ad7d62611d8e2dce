"""Each state that keeps an answer from coming has a face, and nothing that was written is lost."""

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Open
from tests.support.browser import until_text, until_true
from tests.support.chat_page import ANSWER, ChatPage
from tests.support.gguf_files import write_gguf
from tests.support.ports import free_port
from tests.support.scripted_server import ScriptedServer
from tests.support.server_process import TINY, ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.browser
_LONG = {"Longest answer": "-1"}


def _stream_started(chat: ChatPage) -> None:
    until_true(chat.page, f"document.querySelector('{ANSWER} .markdown')?.textContent.length > 20")


def test_without_a_model_the_page_says_where_to_get_one(tmp_path: Path, open_page: Open) -> None:
    with ScriptedServer(tmp_path) as server:
        page = open_page(server.url).page
        page.get_by_role("heading", name="No model yet").wait_for()
        assert page.get_by_role("link", name="Get a model").get_attribute("href") == "#/get"
        page.locator("#composer").fill("hello")
        assert page.get_by_label("Send", exact=True).is_disabled()
        # It appears as soon as there is one, after the list is read again.
        write_gguf(tmp_path / "m.gguf")
        page.reload()
        assert ChatPage(page).ask("echo: here") == "here"


def test_a_question_before_the_page_knows_a_model_waits_for_the_list(
    tmp_path: Path, open_page: Open
) -> None:
    with ScriptedServer(tmp_path) as server:
        page = open_page(server.url).page
        lists: list[Route] = []
        page.route("**/api/v2/events", lambda _: None)
        page.route("**/api/v2/models", lambda route: lists.append(route))
        page.reload()
        chat = ChatPage(page)
        chat.send("echo: early")
        until_text(page, ".pending", "Waiting for the server")
        page.keyboard.press("Escape")
        chat.wait_ended()
        chat.action("Answer again").click()
        until_text(page, ".pending", "Waiting for the server")
        lists[-1].continue_()
        page.locator(".problem").get_by_text("There is no model yet").wait_for()
        write_gguf(tmp_path / "m.gguf")
        page.unroute("**/api/v2/models")
        page.get_by_role("button", name="Try again").click()
        chat.wait_for_text("early")
        assert page.get_by_label("Model").input_value() == "m.gguf"


def test_a_load_shows_its_progress_and_can_be_stopped(tmp_path: Path, open_page: Open) -> None:
    write_gguf(tmp_path / "slow.gguf", "SLOW")
    with ScriptedServer(tmp_path) as server:
        chat = ChatPage(open_page(server.url).page)
        chat.send("hello")
        until_text(chat.page, ".pending", "Loading slow, 50 %")
        assert chat.page.locator(".pending progress").get_attribute("value") == "0.5"
        until_text(chat.page, ".model-state", "Loading, 50 %")
        chat.page.keyboard.press("Escape")
        chat.wait_ended()
        assert [m["state"] for m in chat.stored() if m["role"] == "assistant"] == ["stopped"]


@pytest.mark.parametrize(
    ("reason", "advice"),
    [("out_of_memory", "Not enough memory"), ("corrupt_file", "The file is damaged or incomplete")],
)
def test_a_failed_load_says_why_and_what_to_do(
    tmp_path: Path, open_page: Open, reason: str, advice: str
) -> None:
    write_gguf(tmp_path / "bad.gguf", f"FAIL:{reason}")
    with ScriptedServer(tmp_path) as server:
        chat = ChatPage(open_page(server.url).page)
        chat.send("hello")
        notice = chat.page.locator(".problem")
        notice.wait_for()
        text = notice.inner_text()
        assert "scripted failure" in text.lower()
        assert advice in text
        assert notice.get_by_role("link", name="Load it with other settings").is_visible()


def test_a_full_queue_is_tried_again_by_itself(tmp_path: Path, open_page: Open) -> None:
    write_gguf(tmp_path / "m.gguf")
    with ScriptedServer(tmp_path, max_queue=0) as server:
        watched = open_page(server.url)
        busy = ChatPage(watched.page)
        # The scripted model has four slots.
        for _ in range(4):
            busy.page.get_by_role("button", name="New chat").click()
            busy.send("forever")
            _stream_started(busy)
        other = ChatPage(open_page(server.url).page)
        other.send("echo: at last")
        until_text(other.page, ".pending", "The server is busy. Trying again in")
        busy.page.keyboard.press("Escape")
        other.wait_for_text("at last")
        other.wait_ended()
        for _ in range(3):
            busy.page.locator(".chat-row", has=busy.page.locator(".working")).locator(
                "a"
            ).first.click()
            busy.page.get_by_label("Stop the answer").click()
            busy.wait_ended()


def test_a_workers_crash_keeps_the_half_answer_and_continue_goes_on(
    scripted: ScriptedServer, open_page: Open
) -> None:
    chat = ChatPage(open_page(scripted.url).page)
    chat.send("die")
    chat.page.locator(".problem").wait_for()
    chat.wait_ended()
    half = chat.answer
    assert half.startswith("word word")
    text = chat.page.locator(".problem").inner_text()
    assert "The model's process ended in mid-answer" in text
    assert "The answer so far is kept" in text
    chat.reload()
    chat = ChatPage(chat.page)
    chat.page.locator(".problem").wait_for()
    assert chat.answer == half
    with chat.page.expect_request("**/stream") as sent:
        chat.action("Continue").click()
    body = json.loads(sent.value.post_data or "")
    assert body["messages"][-1] == {"role": "assistant", "content": half}
    assert body["continue_final_message"] == "content"
    chat.wait_ended()


def test_a_server_that_comes_back_is_noticed(tmp_path: Path, open_page: Open) -> None:
    write_gguf(tmp_path / "m.gguf")
    first = ScriptedServer(tmp_path, free_port())
    chat = ChatPage(open_page(first.url).page)
    chat.send("forever")
    _stream_started(chat)
    first.stop()
    chat.page.locator(".problem").wait_for()
    half = chat.answer
    assert "The connection to the server broke" in chat.page.locator(".problem").inner_text()
    chat.page.get_by_text("Server not reachable").wait_for()
    # A question meanwhile waits for the server.
    chat.page.get_by_role("button", name="New chat").click()
    chat.send("echo: back again")
    until_text(chat.page, ".pending", "The server does not answer")
    with ScriptedServer(tmp_path, first.port):
        chat.wait_for_text("back again")
        chat.wait_ended()
        chat.page.get_by_text("Server not reachable").wait_for(state="hidden")
        chat.page.get_by_role("link", name="forever").click()
        chat.action("Continue").wait_for()
        assert chat.answer == half


def test_a_real_worker_killed_in_mid_answer_leaves_the_page_whole(
    tmp_path: Path, open_page: Open
) -> None:
    with ServerProcess(tmp_path) as server:
        # Without a shift an idle machine fills the context before the page shows the first words.
        server.post(f"/api/v2/models/{TINY}/load", {"n_ctx": 2048, "context_shift": True})
        watched = open_page(f"http://127.0.0.1:{server.port}/")
        chat = ChatPage(watched.page)
        # Never ends by itself.
        watched.page.route("**/stream", _ignore_end)
        chat.send("Tell me a story")
        until_true(
            chat.page, f"document.querySelector('{ANSWER} .markdown')?.textContent.length > 50"
        )
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
        chat.page.locator(".problem").wait_for()
        assert len(chat.answer) > 50
        chat.page.unroute("**/stream")
        chat.page.get_by_role("button", name="New chat").click()
        assert len(chat.ask("Hello")) > 3


def _ignore_end(route) -> None:
    body = route.request.post_data_json | {"ignore_eos": True}
    route.continue_(post_data=body)


def test_a_key_is_asked_for_and_kept_until_the_tab_is_closed(
    tmp_path: Path, open_page: Open
) -> None:
    write_gguf(tmp_path / "m.gguf")
    with ScriptedServer(tmp_path, api_keys=["sécret"]) as server:
        watched = open_page(server.url)
        page = watched.page
        page.get_by_role("heading", name="This server needs a key").wait_for()
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("The server does not accept this key.").wait_for()
        page.get_by_label("API key").fill("sécret")
        page.keyboard.press("Enter")
        assert ChatPage(page).ask("echo: in") == "in"
        ChatPage(page).reload()
        page.locator(ANSWER).wait_for()
        assert ChatPage(page).texts == ["echo: in", "in"]
        other = watched.open()
        other.goto(server.url)
        other.get_by_role("heading", name="This server needs a key").wait_for()


def test_with_an_ordinary_key_beside_admin_keys_the_page_works_without_events(
    tmp_path: Path, open_page: Open
) -> None:
    write_gguf(tmp_path / "m.gguf")
    with ScriptedServer(tmp_path, api_keys=["user", "boss"], admin_keys=["boss"]) as server:
        page = open_page(server.url).page
        page.get_by_label("API key").fill("user")
        page.keyboard.press("Enter")
        assert ChatPage(page).ask("echo: in") == "in"
        until_text(page, ".model-state", "Loaded")


def test_a_browser_that_keeps_nothing_can_chat_and_says_so(
    scripted: ScriptedServer, open_page: Open
) -> None:
    watched = open_page(scripted.url, fresh=True)
    watched.context.add_init_script(
        """for (const name of ["localStorage", "sessionStorage", "indexedDB"])
          Object.defineProperty(window, name, {
            get() { throw new DOMException("no", "SecurityError"); },
          });"""
    )
    watched.page.reload()
    chat = ChatPage(watched.page)
    assert chat.ask("echo: works") == "works"
    chat.page.get_by_text("This browser does not keep chats of this page").wait_for()
    chat.page.get_by_role("button", name="New chat").click()
    assert chat.ask("echo: second") == "second"
    chat.page.get_by_role("link", name="echo: works").click()
    chat.wait_for_text("works")
    with chat.page.expect_download() as download:
        chat.page.get_by_role("button", name="Export").click()
    titles = {
        one["title"] for one in json.loads(download.value.path().read_text())["conversations"]
    }
    assert titles == {"echo: works", "echo: second"}
    chat.page.get_by_label("Delete echo: second").click()
    chat.page.get_by_role("button", name="Undo").click()
    chat.page.get_by_role("link", name="echo: second").wait_for()


def test_chats_that_a_full_storage_does_not_take_stay_until_the_page_is_closed(
    scripted: ScriptedServer, open_page: Open
) -> None:
    page = open_page(scripted.url).page
    page.evaluate(
        """() => {
          const put = IDBObjectStore.prototype.put;
          IDBObjectStore.prototype.put = function (value) {
            if (window.isFull) throw new DOMException("full", "QuotaExceededError");
            return put.call(this, value);
          };
        }"""
    )
    chat = ChatPage(page)
    chat.ask("echo: stored")
    page.evaluate("window.isFull = true")
    chat.ask("echo: more")
    page.get_by_text("The browser's storage for this page is full").wait_for()
    page.get_by_role("button", name="New chat").click()
    page.get_by_role("link", name="echo: stored").click()
    chat.wait_for_text("more")
    page.evaluate("window.isFull = false")
    chat.ask("echo: last")
    chat.reload()
    chat.wait_for_text("last")


def test_the_tabs_stay_where_they_are_when_another_is_chosen(
    scripted: ScriptedServer, open_page: Open
) -> None:
    page = open_page(scripted.url).page
    tabs = page.get_by_role("navigation", name="Tabs").get_by_role("link")
    places = []
    for at in range(tabs.count()):
        tabs.nth(at).click()
        until_true(page, f"document.querySelectorAll('nav a')[{at}].ariaCurrent === 'page'")
        places.append([tabs.nth(other).bounding_box() for other in range(tabs.count())])
    assert all(place == places[0] for place in places)
