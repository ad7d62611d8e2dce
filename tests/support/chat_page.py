"""ChatPage: the tab Chat of the web page as a user operates it."""

from typing import TYPE_CHECKING, Any

from tests.support.browser import until_text
from tests.support.server_process import until

if TYPE_CHECKING:
    from playwright.sync_api import FilePayload, Locator, Page

ANSWER = ".message.assistant"


class ChatPage:
    """Reads and operates the chat that is open on `page`."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        page.locator("#composer").wait_for()

    def send(self, text: str) -> None:
        """Write a message and send it."""
        self.page.locator("#composer").fill(text)
        self.page.keyboard.press("Enter")

    def choose(self, label: str, *files: tuple[str, str, bytes]) -> None:
        """Choose files, each a name, a MIME type and its content, in the field with this label."""
        payload: list[FilePayload] = [
            {"name": name, "mimeType": kind, "buffer": data} for name, kind, data in files
        ]
        self.page.get_by_label(label).set_input_files(payload)

    def ask(self, text: str) -> str:
        """Send a message and wait for the end of its answer; the answer's text.

        AssertionError with the page's words if the answer ended with a problem.
        """
        self.send(text)
        self.wait_ended()
        last = self.page.locator(ANSWER).last
        problems = last.locator(".problem").all_inner_texts()
        assert not problems, problems
        return self.answer

    def reload(self) -> None:
        """Reload the page once the branch and its last message are stored: closed before, it may
        lose a second.
        """
        newest = self.page.locator(".message").last.get_attribute("data-id")

        def is_stored() -> bool:
            leaves = {one["leaf"] for one in self._records("conversations")}
            ended = {one["id"] for one in self.stored() if one.get("state") != "working"}
            return newest in leaves & ended

        until(is_stored, "the last message is stored")
        self.page.reload()

    def wait_ended(self) -> None:
        """Wait until no answer is on its way, and the last one has its actions."""
        self.page.locator(f"{ANSWER} .message-foot").last.wait_for(state="attached")
        self.page.get_by_label("Send", exact=True).wait_for()

    def wait_for_text(self, text: str) -> None:
        """Wait until the last answer has this text."""
        until_text(self.page, f"{ANSWER} .markdown", text)

    @property
    def answer(self) -> str:
        """The text of the last answer."""
        return self.page.locator(f"{ANSWER} .markdown").last.inner_text()

    @property
    def texts(self) -> list[str]:
        """The texts of all messages of the branch."""
        return self.page.locator(".message :is(.markdown, .said)").all_inner_texts()

    def action(self, name: str) -> "Locator":
        """A button of the last message."""
        return self.page.locator(".message").last.get_by_role("button", name=name)

    def stored(self) -> list[dict[str, Any]]:
        """All messages in the browser's database."""
        return self._records("messages")

    def _records(self, store: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.page.evaluate(
            """(store) => new Promise((resolve) => {
              indexedDB.open("llamabind").onsuccess = (event) => {
                const database = event.target.result;
                const all = database.transaction(store).objectStore(store).getAll();
                all.onsuccess = () => { database.close(); resolve(all.result); };
              };
            })""",
            store,
        )
        return found
