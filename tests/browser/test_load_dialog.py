"""The load dialog: the live estimate, the fields, and the result of the load."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.support.browser import until_true
from tests.support.models_page import ModelsPage
from tests.support.scripted_server import ScriptedServer
from tests.support.server_process import TINY, ServerProcess
from tests.support.v2_requests import write_models

pytestmark = pytest.mark.browser

_CONTEXT = "Context size in tokens"


def _open_tiny(open_page: Open, server: ServerProcess) -> ModelsPage:
    return ModelsPage(open_page(f"http://127.0.0.1:{server.port}/#/models").page)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[ScriptedServer]:
    """A server that keeps one model in memory."""
    write_models(tmp_path)
    with ScriptedServer(tmp_path, models_max=1) as started:
        yield started


def _needed(text: str) -> float:
    """Megabytes of the host's bar."""
    found = re.search(r"needs ([\d.]+) (kB|MB|GB) of", text)
    assert found is not None, text
    return float(found[1]) * {"kB": 1 / 1024, "MB": 1, "GB": 1024}[found[2]]


def test_the_estimate_follows_the_fields(tiny: ServerProcess, open_page: Open) -> None:
    models = _open_tiny(open_page, tiny)
    dialog = models.open_load(TINY)
    estimate = dialog.locator(".estimate")
    automatic = _needed(estimate.inner_text())
    assert "It fits." in estimate.inner_text()
    assert "Context of 2,048 tokens" in estimate.inner_text()
    dialog.get_by_label(_CONTEXT).fill("256")
    estimate.get_by_text("Context of 256 tokens").wait_for()
    small = _needed(estimate.inner_text())
    assert small < automatic
    # More than the model was trained for is a warning, before the load.
    dialog.get_by_label(_CONTEXT).fill("4096")
    dialog.get_by_text("more than the 2048 tokens").wait_for()
    assert _needed(estimate.inner_text()) > automatic


def test_only_the_latest_estimate_is_shown(tiny: ServerProcess, open_page: Open) -> None:
    """An answer to earlier fields that comes late changes nothing."""
    models = _open_tiny(open_page, tiny)
    dialog = models.open_load(TINY)
    # Answers 512 only when the answer for 1024 was shown.
    models.page.evaluate(
        """() => {
          const fetched = window.fetch;
          window.answered = [];
          window.fetch = async (url, options) => {
            const answer = await fetched(url, {...options, signal: undefined});
            if (String(url).endsWith("/estimate") && options.body.includes("512"))
              await new Promise((resolve) => { window.release = resolve; });
            if (String(url).endsWith("/estimate")) window.answered.push(options.body);
            return answer;
          };
        }"""
    )
    dialog.get_by_label(_CONTEXT).fill("512")
    until_true(models.page, "window.release !== undefined")
    dialog.get_by_label(_CONTEXT).fill("1024")
    dialog.get_by_text("Context of 1,024 tokens").wait_for()
    models.page.evaluate("window.release()")
    until_true(models.page, "window.answered.length === 2")
    models.wait_for_estimate()
    assert "Context of 1,024 tokens" in dialog.locator(".estimate").inner_text()


def test_typing_sends_one_request(tiny: ServerProcess, open_page: Open) -> None:
    models = _open_tiny(open_page, tiny)
    dialog = models.open_load(TINY)
    bodies: list[str | None] = []
    models.page.on(
        "request",
        lambda request: bodies.append(request.post_data) if "estimate" in request.url else None,
    )
    # In one task: between two keys that wait for each other a busy machine may take longer than
    # the page waits for a further key.
    dialog.get_by_label(_CONTEXT).evaluate(
        """async (field) => {
          for (const text of ["1", "10", "102", "1024"]) {
            field.value = text;
            field.dispatchEvent(new Event("input", { bubbles: true }));
            await null;
          }
        }"""
    )
    dialog.get_by_text("Context of 1,024 tokens").wait_for()
    assert bodies == ['{"n_ctx":1024}']


def test_a_context_that_cannot_fit_says_by_how_much(tmp_path: Path, open_page: Open) -> None:
    with ServerProcess(tmp_path, "--memory-budget-mb", "20") as server:
        models = _open_tiny(open_page, server)
        dialog = models.open_load(TINY)
        assert "It fits." in dialog.inner_text()
        dialog.get_by_label(_CONTEXT).fill("65536")
        dialog.get_by_text("It does not fit").wait_for()
        verdict = dialog.locator(".verdict").inner_text()
        assert re.search(r"host memory \(needs \d+ MB, at most 20.0 MB can be used", verdict), (
            verdict
        )
        dialog.get_by_role("button", name="Load", exact=True).click()
        dialog.locator(".failure").get_by_text("Not enough memory").wait_for()


def test_the_load_shows_effective_settings_and_warnings(
    tiny: ServerProcess, open_page: Open
) -> None:
    models = _open_tiny(open_page, tiny)
    dialog = models.open_load(TINY)
    dialog.get_by_label(_CONTEXT).fill("4096")
    dialog.get_by_label("Unload when idle for").fill("3600")
    dialog.get_by_role("button", name="Load", exact=True).click()
    dialog.get_by_role("button", name="Done").wait_for()
    text = dialog.inner_text()
    assert "more than the 2048 tokens" in text
    assert "4,096" in text
    assert "unloaded after 1 h idle" in text
    # The way to a chat with it.
    dialog.get_by_role("link", name="Chat").click()
    models.page.locator("#composer").wait_for()
    assert models.page.get_by_label("Model", exact=True).input_value() == TINY
    models.go("Models")
    # The form of a loaded model has the settings of its load.
    models.row(TINY).get_by_role("button", name="Settings of").click()
    dialog = models.dialog_with_estimate()
    assert dialog.get_by_label(_CONTEXT).input_value() == "4096"
    dialog.get_by_label(_CONTEXT).fill("512")
    dialog.get_by_role("button", name="Load again").click()
    dialog.get_by_role("button", name="Done").click()
    models.row(TINY).get_by_text("512", exact=True).wait_for()
    models.press(TINY, "Unload")
    models.wait_for_state(TINY, "On disk")


def test_a_chat_with_a_loaded_model_takes_the_place_of_an_empty_one(
    small: ScriptedServer, open_page: Open
) -> None:
    page = open_page(small.url).page
    model = page.get_by_label("Model", exact=True)
    page.locator(".model-state").wait_for()
    assert model.input_value() != "org/sub/n.gguf"
    page.get_by_role("link", name="Models", exact=True).click()
    models = ModelsPage(page)
    dialog = models.open_load("org/sub/n.gguf")
    dialog.get_by_role("button", name="Load", exact=True).click()
    dialog.get_by_role("link", name="Chat").click()
    page.locator(".model-state").wait_for()
    assert model.input_value() == "org/sub/n.gguf"
    assert page.locator("[aria-current=page]").inner_text() == "Chat"


def test_wrong_values_are_said_at_their_fields(small: ScriptedServer, open_page: Open) -> None:
    models = ModelsPage(open_page(f"{small.url}/#/models").page)
    dialog = models.open_load("m.gguf")
    field = dialog.get_by_label(_CONTEXT)
    field.fill("many")
    dialog.get_by_text("Expected a whole number from 0 to 16,777,216.").wait_for()
    assert field.get_attribute("aria-invalid") == "true"
    assert dialog.get_by_role("button", name="Load", exact=True).is_disabled()
    field.fill("")
    dialog.get_by_text("More settings").click()
    dialog.get_by_label("All other settings, as JSON").fill("[1]")
    dialog.get_by_text("Expected a JSON object").wait_for()
    dialog.get_by_label("All other settings, as JSON").fill("")
    # A contradiction that only the server knows.
    dialog.get_by_label("Cache type of values").select_option("q8_0")
    dialog.get_by_label("Flash attention").select_option("off")
    dialog.get_by_text("requires flash_attn").wait_for()
    values = dialog.get_by_label("Cache type of values")
    assert values.get_attribute("aria-invalid") == "true"


def test_an_unknown_setting_is_named_by_the_server(small: ScriptedServer, open_page: Open) -> None:
    models = ModelsPage(open_page(f"{small.url}/#/models").page)
    dialog = models.open_load("m.gguf")
    dialog.get_by_text("More settings").click()
    dialog.get_by_label("All other settings, as JSON").fill('{"n_cttx": 3}')
    dialog.locator(".foot .notice.error").wait_for()
    assert "n_cttx" in dialog.locator(".foot").inner_text()


def test_the_estimate_names_what_would_be_unloaded(small: ScriptedServer, open_page: Open) -> None:
    models = ModelsPage(open_page(f"{small.url}/#/models").page)
    dialog = models.open_load("org/sub/n.gguf")
    assert "It fits." in dialog.inner_text()
    # Loaded elsewhere while the dialog is open: the estimate follows.
    models.page.evaluate("""() => { fetch("api/v2/models/m.gguf/load", {method: "POST"}); }""")
    dialog.get_by_text("Fits after unloading m.gguf, which is idle.").wait_for()
    dialog.get_by_role("button", name="Load", exact=True).click()
    dialog.get_by_role("button", name="Done").click()
    models.wait_for_state("m.gguf", "On disk")
    models.wait_for_state("org/sub/n.gguf", "Loaded")
    models.row("org/sub/n.gguf").get_by_role("button", name="Keep in memory").click()
    models.row("org/sub/n.gguf").get_by_text("pinned").wait_for()
    assert "all loaded models are pinned" in models.open_load("m.gguf").inner_text()


def test_each_device_has_a_bar_and_gpus_have_layers(small: ScriptedServer, open_page: Open) -> None:
    gib = 1 << 30

    def memory(name: str, kind: str, free: int, total: int, *parts: int) -> dict[str, Any]:
        keys = ("model_bytes", "context_bytes", "compute_bytes")
        sizes = {key: size * gib for key, size in zip(keys, parts, strict=True)}
        used = {"used_bytes": sum(parts) * gib, "free_bytes": free * gib}
        return {"device": name, "kind": kind, "total_bytes": total * gib} | sizes | used

    estimate = {
        "id": "m.gguf",
        "fits": False,
        "evicts": [],
        "waits_for": [],
        "devices": [
            {
                "name": "CUDA0",
                "needed_bytes": 16 * gib,
                "free_bytes": 12 * gib,
                "available_bytes": 13 * gib,
            }
        ],
        "memory_needed": "18.0GB",
        "memory": [
            memory("CPU", "host", 20, 32, 1, 0, 1),
            memory("CUDA0", "gpu", 12, 24, 10, 4, 2),
        ],
        "settings": {"requested": {}, "effective": {"n_ctx": 4096, "n_gpu_layers": 33}},
        "warnings": [],
    }
    page = open_page(f"{small.url}/#/models").page
    page.route("**/estimate", lambda route: route.fulfill(json=estimate))
    dialog = ModelsPage(page).open_load("m.gguf")
    assert dialog.locator(".device").count() == 2
    gpu = dialog.locator(".device", has_text="CUDA0")
    assert "needs 16.0 GB of 12.0 GB free" in gpu.inner_text()
    assert gpu.locator(".lacking").count() == 1
    assert gpu.locator(".limit").count() == 1
    assert dialog.locator(".device", has_text="Host memory").locator(".lacking").count() == 0
    verdict = "not enough CUDA0 (needs 16.0 GB, at most 13.0 GB can be used"
    assert verdict in dialog.locator(".verdict").inner_text()
    assert "33 layers on the GPU" in dialog.inner_text()
    dialog.get_by_label("Layers on the GPU").wait_for()
