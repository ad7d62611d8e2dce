"""llama-server's endpoints for the state of a model, with the bundled model."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server_process import TINY, ServerProcess, next_event, until

pytestmark = pytest.mark.e2e

_STORY = "Once upon a time there was a small dog who lived in a house by the sea with a cat. " * 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder: Path = tmp_path_factory.mktemp("models")
    states: Path = tmp_path_factory.mktemp("states")
    with ServerProcess(folder, "--slot-save-path", str(states)) as process:
        process.post(f"/api/v2/models/{TINY}/load", {"n_ctx": 1024, "threads": 1})
        yield process


def test_props_have_the_models_tokens_and_template(server: ServerProcess) -> None:
    props = server.get(f"/props?model={TINY}")
    assert props["default_generation_settings"]["n_ctx"] <= 1024
    assert props["eos_token"] == "<|im_end|>"
    assert props["chat_template_caps"]["supports_tools"] is True
    assert props["build_info"].startswith("b")


def test_slots_show_a_running_request_and_then_its_retained_prefix(server: ServerProcess) -> None:
    # Without a shift an idle machine fills the context before the slots are read.
    settings = {"n_ctx": 1024, "threads": 1}
    server.post(f"/api/v2/models/{TINY}/load", settings | {"context_shift": True})
    body = {
        "model": TINY,
        "prompt": "Once upon a time there was a small dog who",
        "stream": True,
        "temperature": 0.25,
        "ignore_eos": True,
    }
    with server.open("/completion", body) as response:
        next_event(response)
        busy = [slot for slot in server.get(f"/slots?model={TINY}") if slot["is_processing"]]
        [slot] = busy
        assert slot["params"]["temperature"] == 0.25
        assert slot["next_token"][0]["n_decoded"] >= 1
        assert slot["n_prompt_tokens"] >= slot["n_prompt_tokens_processed"] > 5
        assert "prompt" not in slot

    def is_retained() -> bool:
        slots = server.get(f"/slots?model={TINY}")
        return any(slot["n_prompt_tokens"] > 5 and not slot["is_processing"] for slot in slots)

    until(is_retained, "the cancelled request's prefix is retained")
    server.post(f"/api/v2/models/{TINY}/load", settings)


def test_a_saved_slot_can_be_restored_after_a_reload_of_its_model(server: ServerProcess) -> None:
    body = {"model": TINY, "prompt": _STORY, "temperature": 0, "n_predict": 8, "ignore_eos": True}
    first = server.post("/completion", body | {"cache_prompt": False, "id_slot": 1})
    assert first["id_slot"] == 1
    n_tokens = first["tokens_evaluated"] + first["tokens_predicted"] - 1
    saved = server.post("/slots/1?action=save", {"model": TINY, "filename": "story.bin"})
    assert saved["n_saved"] == n_tokens
    server.post(f"/api/v2/models/{TINY}/unload")
    server.post(f"/api/v2/models/{TINY}/load", {"n_ctx": 1024, "threads": 1})
    restored = server.post("/slots/1?action=restore", {"model": TINY, "filename": "story.bin"})
    assert (restored["n_restored"], restored["n_read"]) == (n_tokens, saved["n_written"])
    again = server.post("/completion", body)
    assert again["tokens_cached"] == first["tokens_evaluated"] - 1
    assert again["content"] == first["content"]
    n_erased = [
        server.post(f"/slots/{slot['id']}?action=erase", {"model": TINY})["n_erased"]
        for slot in server.get(f"/slots?model={TINY}")
    ]
    assert n_erased[again["id_slot"]] == n_tokens
    assert server.post("/completion", body)["tokens_cached"] == 0


def test_a_slot_file_is_refused_with_other_settings_than_it_was_saved_with(
    server: ServerProcess,
) -> None:
    body = {"model": TINY, "prompt": _STORY, "n_predict": 1}
    slot = server.post("/completion", body)["id_slot"]
    server.post(f"/slots/{slot}?action=save", {"model": TINY, "filename": "f16.bin"})
    server.post(f"/api/v2/models/{TINY}/load", {"n_ctx": 1024, "cache_type_k": "q8_0"})
    status, document = server.request(
        "POST", "/slots/0?action=restore", {"model": TINY, "filename": "f16.bin"}
    )
    assert (status, document["error"]["param"]) == (400, "filename")
    assert "other load settings" in document["error"]["message"]
