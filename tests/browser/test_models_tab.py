"""The tab Models: the table, its live states, and what can be done with a model."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import Open
from tests.support.browser import until_true
from tests.support.gguf_files import write_gguf
from tests.support.models_page import ModelsPage
from tests.support.ports import free_port
from tests.support.scripted_server import ScriptedServer
from tests.support.v2_requests import write_models

pytestmark = pytest.mark.browser


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedServer]:
    """Models that answer, and one for each way in which a load can fail."""
    write_models(tmp_path)
    with ScriptedServer(tmp_path) as started:
        yield started


def _open(open_page: Open, server: ScriptedServer) -> ModelsPage:
    return ModelsPage(open_page(f"{server.url}/#/models").page)


def test_the_table_describes_each_file(server: ScriptedServer, open_page: Open) -> None:
    models = _open(open_page, server)
    text = models.row("org/sub/n.gguf").inner_text()
    assert "org/sub/" in text
    assert "llama" in text
    assert "2,048" in text
    assert "On disk" in text
    broken = models.row("bad.gguf")
    assert "Damaged file" in broken.inner_text()
    assert broken.get_by_text("Load", exact=True).count() == 0
    broken.get_by_text("Damaged file").click()
    dialog = models.page.locator("dialog")
    dialog.get_by_text("not a GGUF file").wait_for()
    assert "Download or copy it again" in dialog.inner_text()


def test_states_are_live_without_a_reload(server: ScriptedServer, open_page: Open) -> None:
    models = _open(open_page, server)
    other = _open(open_page, server)
    models.load("m.gguf")
    for one in (models, other):
        one.wait_for_state("m.gguf", "Loaded")
        one.row("m.gguf").get_by_text("13.0 MB").wait_for()
    other.press("m.gguf", "Unload")
    for one in (models, other):
        one.wait_for_state("m.gguf", "On disk")


def test_unloading_a_busy_model_can_be_forced(server: ScriptedServer, open_page: Open) -> None:
    models = _open(open_page, server)
    models.page.evaluate(
        """() => { fetch("api/v2/chat/m.gguf/stream", {method: "POST",
          headers: {"Content-Type": "application/json"},
          body: JSON.stringify({messages: [{role: "user", content: "forever"}]})}); }"""
    )
    models.wait_for_state("m.gguf", "Loaded")
    models.press("m.gguf", "Unload")
    models.wait_for_state("m.gguf", "Finishing its answers")
    models.press("m.gguf", "Stop answers")
    models.wait_for_state("m.gguf", "On disk")


def test_a_model_is_pinned_without_another_load(server: ScriptedServer, open_page: Open) -> None:
    models = _open(open_page, server)
    models.load("m.gguf")
    models.row("m.gguf").get_by_role("button", name="Keep in memory").click()
    models.row("m.gguf").get_by_text("pinned").wait_for()
    pin = models.row("m.gguf").get_by_role("button", name="Stop keeping in memory")
    assert pin.get_attribute("aria-pressed") == "true"
    pin.click()
    models.row("m.gguf").get_by_role("button", name="Keep in memory").wait_for()
    models.wait_for_state("m.gguf", "Loaded")


@pytest.mark.parametrize(
    ("model", "title", "advice", "log"),
    [
        ("oom.gguf", "Not enough memory", "smaller context", None),
        ("new.gguf", "Unknown architecture", "Update llamabind", None),
        ("die.gguf", "Its process crashed", "Load it again", "GGML_ASSERT(scripted) failed"),
    ],
)
def test_a_failed_load_says_why_and_what_to_do(
    server: ScriptedServer,
    open_page: Open,
    model: str,
    title: str,
    advice: str,
    log: str | None,
) -> None:
    models = _open(open_page, server)
    models.press(model, "Load")
    dialog = models.page.locator("dialog")
    dialog.get_by_label("Context size in tokens").fill("64")
    dialog.get_by_role("button", name="Load", exact=True).click()
    failure = dialog.locator(".failure")
    failure.get_by_text(title).wait_for()
    assert advice in failure.inner_text()
    if log is not None:
        assert log in failure.locator(".log").inner_text()
    # The settings stay, to be changed.
    assert dialog.get_by_label("Context size in tokens").input_value() == "64"
    models.page.keyboard.press("Escape")
    models.wait_for_state(model, "Failed")
    assert title in models.row(model).inner_text()
    models.row(model).get_by_role("button", name=model.removesuffix(".gguf"), exact=True).click()
    models.page.locator("dialog .failure").get_by_text(title).wait_for()


def test_a_load_can_be_watched_and_cancelled(server: ScriptedServer, open_page: Open) -> None:
    models = _open(open_page, server)
    models.open_load("slow.gguf").get_by_role("button", name="Load", exact=True).click()
    dialog = models.page.locator("dialog")
    dialog.get_by_text("Loading: 50 %").wait_for()
    assert dialog.locator("progress").get_attribute("value") == "0.5"
    # The window may be closed meanwhile.
    dialog.get_by_role("button", name="Close", exact=True).last.click()
    models.wait_for_state("slow.gguf", "Loading 50 %")
    models.press("slow.gguf", "Cancel")
    models.wait_for_state("slow.gguf", "On disk")


def test_a_cancelled_load_shows_the_form_again(server: ScriptedServer, open_page: Open) -> None:
    models = _open(open_page, server)
    models.open_load("slow.gguf").get_by_role("button", name="Load", exact=True).click()
    dialog = models.page.locator("dialog")
    dialog.get_by_role("button", name="Cancel the load").click()
    dialog.get_by_text("Cancelled", exact=True).wait_for()
    dialog.get_by_role("button", name="Load", exact=True).wait_for()


def test_without_models_the_page_says_where_to_get_them(tmp_path: Path, open_page: Open) -> None:
    with ScriptedServer(tmp_path) as server:
        models = _open(open_page, server)
        models.page.get_by_text("There is no model yet").wait_for()
        assert "--models-dir" in models.page.locator("main").inner_text()
        # A file that is copied there appears when the tab is opened again.
        write_gguf(tmp_path / "new.gguf")
        models.go("Machine")
        models.page.get_by_role("heading", name="Machine").wait_for()
        models.go("Models")
        models.row("new.gguf").wait_for()


def test_many_models_can_be_filtered(tmp_path: Path, open_page: Open) -> None:
    for number in range(40):
        write_gguf(tmp_path / f"model-{number:02}.gguf")
    with ScriptedServer(tmp_path) as server:
        models = _open(open_page, server)
        models.page.get_by_label("Filter models").fill("-17")
        until_true(models.page, "document.querySelectorAll('tbody tr').length === 1")
        models.page.get_by_label("Filter models").fill("nothing")
        models.page.get_by_text("None of 40 models").wait_for()


def test_a_server_that_goes_and_comes_back_is_noticed(tmp_path: Path, open_page: Open) -> None:
    write_models(tmp_path)
    with ScriptedServer(tmp_path, free_port()) as server:
        models = _open(open_page, server)
        models.load("m.gguf")
        server.stop()
        models.page.get_by_text("Server not reachable").wait_for()
        assert models.row("m.gguf").count() == 1
        with ScriptedServer(tmp_path, server.port):
            models.wait_for_state("m.gguf", "On disk")
            models.page.get_by_text("Server not reachable").wait_for(state="detached")
