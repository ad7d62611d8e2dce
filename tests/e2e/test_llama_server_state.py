"""llama-server's endpoints about the state of a model, with the bundled one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import TINY, ServerProcess, next_event, until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder: Path = tmp_path_factory.mktemp("models")
    with ServerProcess(folder) as process:
        process.post(f"/api/v2/models/{TINY}/load", {"n_ctx": 1024, "threads": 1})
        yield process


def test_props_have_the_models_tokens_and_template(server: ServerProcess) -> None:
    props = server.get(f"/props?model={TINY}")
    assert props["default_generation_settings"]["n_ctx"] <= 1024
    assert props["eos_token"] == "<|im_end|>"
    assert props["chat_template_caps"]["supports_tools"] is True
    assert props["build_info"].startswith("b")


def test_slots_tell_of_a_running_request_and_then_keep_its_prefix(server: ServerProcess) -> None:
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

    def kept() -> bool:
        slots = server.get(f"/slots?model={TINY}")
        return any(slot["n_prompt_tokens"] > 5 and not slot["is_processing"] for slot in slots)

    until(kept, "the cancelled request's prefix is kept")
