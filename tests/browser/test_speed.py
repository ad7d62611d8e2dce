"""The page stays quick with a long answer and with a thousand chats. Tests measure CPU time,
so that a busy machine makes no difference.
"""

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Open
from tests.support.browser import until_true
from tests.support.chat_page import ANSWER, ChatPage
from tests.support.scripted_server import ScriptedServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

_TOKENS = 2_000
# A person notices a task of more than 50 ms. Four times that, so that a slow or busy machine is no
# failure: work that grows with the length of the whole answer takes longer still.
_LONGEST_TASK_MS = 200.0
_CHATS = 1_000
_ADD_CHATS = """(count) => new Promise((resolve) => {
  indexedDB.open("llamabind").onsuccess = (event) => {
    const database = event.target.result;
    const writing = database.transaction(["conversations", "messages"], "readwrite");
    const chats = writing.objectStore("conversations");
    const messages = writing.objectStore("messages");
    for (let at = 0; at < count; at++) {
      const conversation = `c${String(at).padStart(6, "0")}`;
      let parent = "";
      for (let index = 0; index < 8; index++) {
        const id = `${conversation}-${index}`;
        const role = index % 2 ? "assistant" : "user";
        const content = `Message ${index} of chat ${at}. `.repeat(20);
        messages.put({ id, conversation, parent, role, content, state: "done", created: at });
        parent = id;
      }
      chats.put({ id: conversation, title: `Chat ${at}`, created: at, updated: at, model: "m.gguf",
        settings: {}, leaf: parent });
    }
    writing.oncomplete = () => { database.close(); resolve(); };
  };
})"""


def _long_answer() -> str:
    """A text of 2,000 words in Markdown of every kind; the scripted model writes a word a step."""
    section = (
        "## Section\n\nA paragraph with *emphasis*, **strong** words, `code` and a "
        "[link](https://example.invalid/) in a few lines of text that go on for a while.\n\n"
        "- first item of a list with some words\n- second item with some more words\n"
        "  - an inner item\n- third item\n\n"
        "| name | value | words |\n|---|---|---|\n| a | 1 | some words here |\n"
        "| b | 2 | and here |\n\n"
        "```python\nfor index in range(10):\n    print(index, index * index)\n```\n\n"
        "> A quotation that somebody wrote.\n\n"
    )
    text = section * 100
    return " ".join(text.split(" ")[:_TOKENS])


def _list_answer() -> str:
    """One list of 2,000 words: a single block, which is drawn anew as it grows."""
    return " ".join(["- item number one of a long list\n"] * 400).replace("\n ", "\n")


def _tasks(browser: "Browser") -> list[float]:
    """The CPU times of the main thread's tasks since start_tracing, in milliseconds."""
    events = json.loads(browser.stop_tracing())["traceEvents"]
    main = {
        (event["pid"], event["tid"])
        for event in events
        if event.get("name") == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    return [
        event["tdur"] / 1000
        for event in events
        if event.get("name", "").endswith("RunTask")
        and (event["pid"], event["tid"]) in main
        and "tdur" in event
    ]


def _trace(browser: "Browser", page: "Page") -> None:
    browser.start_tracing(
        page=page, categories=["toplevel", "disabled-by-default-lifecycles", "__metadata"]
    )


@pytest.mark.parametrize("text", [_long_answer(), _list_answer()], ids=["mixed", "one list"])
def test_a_long_stream_has_no_long_task_and_draws_complete_blocks_once(
    scripted: ScriptedServer, open_page: Open, chromium: "Browser", text: str
) -> None:
    page = open_page(scripted.url, fresh=True).page
    chat = ChatPage(page)
    chat.ask("echo: warm up")
    # Before the trace: the browser takes long to type a text of hundreds of lines at once.
    page.locator("#composer").fill(f"echo: {text}")
    _trace(chromium, page)
    page.keyboard.press("Enter")
    until_true(page, f"document.querySelectorAll('{ANSWER}').length === 2")
    page.evaluate(
        f"""() => {{
          const root = [...document.querySelectorAll('{ANSWER} .markdown')].pop();
          // A block that is removed after a later one was added was complete.
          window.redrawn = 0;
          new MutationObserver((records) => {{
            for (const record of records)
              for (const node of record.removedNodes)
                if (record.target === root && record.nextSibling) window.redrawn += 1;
          }}).observe(root, {{ childList: true }});
        }}"""
    )
    chat.wait_ended()
    tasks = _tasks(chromium)
    assert chat.page.evaluate("window.redrawn") == 0
    assert len(tasks) > 100
    assert max(tasks) < _LONGEST_TASK_MS, sorted(tasks)[-5:]
    assert chat.stored()[-1]["stats"]["tokens"] > 0
    # It followed the end of the answer, and the line below it.
    until_true(page, f"({_DISTANCE})() < 30")


_DISTANCE = """() => {
  const box = document.querySelector('.messages');
  return box.scrollHeight - box.scrollTop - box.clientHeight;
}"""


def test_a_reader_who_scrolls_up_stays_there(scripted: ScriptedServer, open_page: Open) -> None:
    page = open_page(scripted.url, fresh=True).page
    chat = ChatPage(page)
    # It grows until it is stopped.
    chat.send("forever")
    until_true(page, "document.querySelector('.messages').scrollHeight > 2500")
    page.mouse.move(700, 400)
    page.mouse.wheel(0, -600)
    until_true(page, f"({_DISTANCE})() > 300")
    at = page.evaluate("document.querySelector('.messages').scrollTop")
    height = page.evaluate("document.querySelector('.messages').scrollHeight")
    until_true(page, f"document.querySelector('.messages').scrollHeight > {height + 500}")
    assert page.evaluate("document.querySelector('.messages').scrollTop") == at
    page.get_by_label("Go to the end").click()
    page.keyboard.press("Escape")
    chat.wait_ended()
    until_true(page, f"({_DISTANCE})() < 30")


def test_a_thousand_chats_are_listed_searched_and_opened_quickly(
    scripted: ScriptedServer, open_page: Open, chromium: "Browser"
) -> None:
    page = open_page(scripted.url, fresh=True).page
    ChatPage(page)
    page.evaluate(_ADD_CHATS, _CHATS)
    page.reload()
    ChatPage(page)
    page.get_by_role("link", name="Chat 999").wait_for()
    _trace(chromium, page)
    rows = page.locator(".chat-row")
    assert rows.count() < 60
    page.get_by_role("link", name="Chat 999").click()
    page.get_by_text("Message 7 of chat 999").first.wait_for()
    page.locator(".virtual").evaluate("box => { box.scrollTop = box.scrollHeight; }")
    page.get_by_role("link", name="Chat 0", exact=True).wait_for()
    assert rows.count() < 60
    page.get_by_label("Search chats").fill("of chat 77.")
    until_true(page, "document.querySelectorAll('.chat-row').length === 1")
    page.get_by_role("link", name="Chat 77", exact=True).click()
    page.get_by_text("Message 7 of chat 77").first.wait_for()
    tasks = _tasks(chromium)
    assert max(tasks) < 2 * _LONGEST_TASK_MS, sorted(tasks)[-5:]


def test_a_long_chat_shows_its_end_and_the_rest_on_demand(
    scripted: ScriptedServer, open_page: Open
) -> None:
    page = open_page(scripted.url, fresh=True).page
    chat = ChatPage(page)
    document: dict[str, Any] = {
        "format": "llamabind-chats",
        "version": 1,
        "conversations": [_chat(200)],
    }
    file = ("long.json", "application/json", json.dumps(document).encode())
    chat.choose("File of chats to import", file)
    page.get_by_role("link", name="A long chat").click()
    page.get_by_text("message 199", exact=True).wait_for()
    assert len(chat.texts) == 20
    page.get_by_role("button", name="Show 20 earlier messages").click()
    page.get_by_text("message 160", exact=True).wait_for(state="attached")
    assert len(chat.texts) == 40


def _chat(length: int) -> dict[str, Any]:
    messages = [
        {
            "id": f"m-{at:04}",
            "parent": f"m-{at - 1:04}" if at else "",
            "role": "assistant" if at % 2 else "user",
            "content": f"message {at}",
            "state": "done",
        }
        for at in range(length)
    ]
    return {
        "id": "long",
        "title": "A long chat",
        "leaf": f"m-{length - 1:04}",
        "messages": messages,
    }
