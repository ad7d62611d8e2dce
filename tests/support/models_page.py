"""ModelsPage: the tab Models of the web page as a user operates it."""

from typing import TYPE_CHECKING

from tests.support.browser import until_true

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


class ModelsPage:
    """Reads and operates the tab Models that is open on `page`."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        page.get_by_role("heading", name="Models", exact=True).wait_for()

    def go(self, tab: str) -> None:
        """Open a tab of the page."""
        self.page.get_by_role("navigation").get_by_role("link", name=tab, exact=True).click()

    def row(self, model_id: str) -> "Locator":
        """The row or card of a model."""
        return self.page.locator(f'tr[data-model="{model_id}"]')

    def wait_for_state(self, model_id: str, words: str) -> None:
        """Wait until the model's state begins with these words."""
        self.row(model_id).locator(".state", has_text=words).wait_for()

    def press(self, model_id: str, label: str) -> None:
        """Press the button of a row whose visible text is `label`."""
        self.row(model_id).get_by_text(label, exact=True).click()

    def open_load(self, model_id: str) -> "Locator":
        """Open the load dialog, and wait for its estimate."""
        self.press(model_id, "Load")
        return self.dialog_with_estimate()

    def dialog_with_estimate(self) -> "Locator":
        """The load dialog, once its estimate is that of its fields."""
        dialog = self.page.locator("dialog")
        dialog.locator(".verdict").wait_for()
        self.wait_for_estimate()
        return dialog

    def wait_for_estimate(self) -> None:
        """Wait until the estimate is that of the fields, at most a debounce and a request later."""
        until_true(self.page, "document.querySelector('.estimate')?.ariaBusy === 'false'")

    def load(self, model_id: str) -> None:
        """Load a model with what the form has, and close the dialog."""
        self.open_load(model_id).get_by_role("button", name="Load", exact=True).click()
        self.page.get_by_role("button", name="Done").click()
