"""HubPage: the tab Get models of the web page as a user operates it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


class HubPage:
    """Reads and operates the tab Get models that is open on `page`."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        page.get_by_role("heading", name="Get models").wait_for()

    def search(self, text: str) -> None:
        """Search for words, or open a repository by its name."""
        self.page.get_by_role("searchbox").fill(text)
        self.page.keyboard.press("Enter")

    def file(self, path: str) -> "Locator":
        """The row or card of a file of the open repository."""
        return self.page.locator(f'tr[data-file="{path}"]')

    def download(self, path: str) -> None:
        """Press the button that downloads a file."""
        self.file(path).get_by_role("button").click()

    def row(self, model: str, state: str = "") -> "Locator":
        """The entry of a download such as "org/repo:Q8_0"; with `state` only while it has it."""
        within = f'[data-state="{state}"]' if state else ""
        return self.page.locator(f'.download[data-download="{model}"]{within}')
