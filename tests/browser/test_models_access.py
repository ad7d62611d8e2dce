"""The tabs Models, Get models and Machine: with keys, by keyboard only, and on a narrow screen."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Open
from tests.support.browser import until_true
from tests.support.models_page import ModelsPage
from tests.support.scripted_server import ScriptedServer
from tests.support.v2_requests import write_models

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

_ORDINARY, _ADMIN = "an-ordinary-key", "an-admin-key"


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[ScriptedServer]:
    """A server that answers ordinary keys, and loads models for admin keys only."""
    write_models(tmp_path)
    keys = [_ORDINARY, _ADMIN]
    with ScriptedServer(tmp_path, api_keys=keys, admin_keys=[_ADMIN]) as started:
        yield started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedServer]:
    write_models(tmp_path)
    with ScriptedServer(tmp_path) as started:
        yield started


def _enter_key(page: "Page", label: str, key: str) -> None:
    page.get_by_label(label).fill(key)
    page.keyboard.press("Enter")


def test_a_load_asks_for_the_admin_key_and_goes_on_with_it(
    keyed: ScriptedServer, open_page: Open
) -> None:
    page = open_page(f"{keyed.url}/#/models").page
    _enter_key(page, "API key", _ORDINARY)
    models = ModelsPage(page)
    # Without events the list is still read.
    models.wait_for_state("m.gguf", "On disk")
    models.press("m.gguf", "Load")
    dialog = page.locator("dialog")
    dialog.get_by_text("This needs an admin key").wait_for()
    assert "The key in use is not an admin key" in dialog.inner_text()
    dialog.get_by_label("Context size in tokens").fill("32")
    _enter_key(page, "Admin key", _ADMIN)
    # The form is as it was.
    models.dialog_with_estimate()
    assert dialog.get_by_label("Context size in tokens").input_value() == "32"
    dialog.get_by_role("button", name="Load", exact=True).click()
    dialog.get_by_role("button", name="Done").click()
    models.wait_for_state("m.gguf", "Loaded")


def test_an_ordinary_key_sees_what_others_load(keyed: ScriptedServer, open_page: Open) -> None:
    page = open_page(f"{keyed.url}/#/models").page
    _enter_key(page, "API key", _ORDINARY)
    models = ModelsPage(page)
    models.wait_for_state("m.gguf", "On disk")
    page.evaluate(
        """(key) => fetch('api/v2/models/m.gguf/load',
                  {method: 'POST', headers: {'X-Api-Key': key}})""",
        _ADMIN,
    )
    models.wait_for_state("m.gguf", "Loaded")
    models.press("m.gguf", "Unload")
    page.locator("dialog").get_by_text("This needs an admin key").wait_for()
    _enter_key(page, "Admin key", _ADMIN)
    models.wait_for_state("m.gguf", "On disk")
    until_true(page, "!document.querySelector('dialog')")


def test_a_wrong_key_leads_back_to_the_form_for_keys(
    keyed: ScriptedServer, open_page: Open
) -> None:
    page = open_page(f"{keyed.url}/#/models").page
    _enter_key(page, "API key", _ORDINARY)
    models = ModelsPage(page)
    models.press("m.gguf", "Load")
    _enter_key(page, "Admin key", "wrong")
    page.get_by_text("The server does not accept this key.").wait_for()
    _enter_key(page, "API key", _ADMIN)
    # The address still names the dialog.
    ModelsPage(page).dialog_with_estimate()


def test_downloads_need_an_admin_key_too(keyed: ScriptedServer, open_page: Open) -> None:
    page = open_page(f"{keyed.url}/#/get").page
    _enter_key(page, "API key", _ORDINARY)
    page.get_by_role("searchbox").wait_for()
    page.route(
        "**/api/v2/hub/models/**",
        lambda route: route.fulfill(
            json={
                "repo": "o/r",
                "revision": "main",
                "gated": False,
                "files": [
                    {
                        "file": "m.gguf",
                        "quantisation": None,
                        "bytes": 10,
                        "n_shards": 1,
                        "mmproj": None,
                        "default": True,
                        "downloaded": False,
                        "model": "o/r",
                        "fits": None,
                    }
                ],
            }
        ),
    )
    page.get_by_role("searchbox").fill("o/r")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Download m.gguf").click()
    page.get_by_text("This needs an admin key").wait_for()


def _focused(page: "Page") -> str:
    return str(
        page.evaluate("document.activeElement.ariaLabel || document.activeElement.innerText")
    )


def _tab_to(page: "Page", label: str) -> None:
    """Press Tab until the focus is on an element with this label or text."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if _focused(page).strip().startswith(label):
            return
    raise AssertionError(f"{label!r} cannot be reached by Tab; the focus is on {_focused(page)!r}")


def test_a_model_is_loaded_and_unloaded_by_keyboard_only(
    server: ScriptedServer, open_page: Open
) -> None:
    page = open_page(f"{server.url}/#/machine").page
    page.get_by_role("heading", name="Machine").wait_for()
    page.keyboard.press("Tab")
    assert _focused(page) == "Skip to content"
    _tab_to(page, "Models")
    page.keyboard.press("Enter")
    models = ModelsPage(page)
    _tab_to(page, "Load m")
    page.keyboard.press("Enter")
    models.dialog_with_estimate()
    assert _focused(page) == "Load m"
    page.keyboard.press("Tab")
    assert _focused(page) == "Close"
    page.keyboard.press("Tab")
    page.keyboard.type("32")
    assert page.get_by_label("Context size in tokens").input_value() == "32"
    page.keyboard.press("Enter")
    until_true(page, "document.activeElement.textContent === 'Done'")
    page.keyboard.press("Enter")
    until_true(page, "!document.querySelector('dialog')")
    models.wait_for_state("m.gguf", "Loaded")
    # The focus is on the button that opened the dialog, and stays on it in each state.
    until_true(page, "document.activeElement.ariaLabel === 'Unload m'")
    page.keyboard.press("Enter")
    models.wait_for_state("m.gguf", "On disk")
    until_true(page, "document.activeElement.ariaLabel === 'Load m'")
    _tab_to(page, "die")
    page.keyboard.press("Enter")
    page.locator("dialog").get_by_text("Architecture").wait_for()
    page.keyboard.press("Escape")
    until_true(page, "!document.querySelector('dialog')")
    assert _focused(page) == "die"


@pytest.mark.parametrize("tab", ["models", "get", "machine"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_narrow_screen(
    server: ScriptedServer, open_page: Open, tab: str, scheme: str
) -> None:
    page = open_page(
        f"{server.url}/#/models",
        viewport={"width": 375, "height": 740},
        color_scheme=scheme,
    ).page
    models = ModelsPage(page)
    models.load("m.gguf")
    page.goto(f"{server.url}/#/{tab}")
    at_rest = {
        "models": 'tr[data-model="m.gguf"] button[aria-label="Unload m"]',
        "get": ".get-tab .empty",
        "machine": ".machine-tab .tile >> nth=0",
    }
    page.locator(at_rest[tab]).wait_for()
    assert page.evaluate("document.querySelector('main').scrollWidth") <= 375
    if tab == "models":
        dialog = models.open_load("org/sub/n.gguf")
        assert page.locator("dialog").evaluate("(one) => one.scrollWidth <= one.clientWidth")
        # The estimate stays in view beside the first field.
        box = dialog.locator(".verdict").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 740


def test_the_table_does_not_move_while_a_model_loads(
    server: ScriptedServer, open_page: Open
) -> None:
    models = ModelsPage(open_page(f"{server.url}/#/models").page)
    columns = """[...document.querySelectorAll('thead th')]
        .map((one) => Math.round(one.getBoundingClientRect().x))"""
    models.wait_for_state("slow.gguf", "On disk")
    until_true(models.page, "document.fonts.status === 'loaded'")
    before = models.page.evaluate(columns)
    models.page.evaluate("() => { fetch('api/v2/models/slow.gguf/load', {method: 'POST'}); }")
    models.wait_for_state("slow.gguf", "Loading 50 %")
    assert models.page.evaluate(columns) == before
    models.press("slow.gguf", "Cancel")
    models.wait_for_state("slow.gguf", "On disk")
    assert models.page.evaluate(columns) == before
