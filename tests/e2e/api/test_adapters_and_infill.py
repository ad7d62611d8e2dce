"""LoRA adapters and infill over HTTP, with models of random weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_source import llama_cpp_source

from tests.support.random_gguf import write_random_llama, write_random_lora
from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.e2e

_MODEL, _CODER = "random.gguf", "coder.gguf"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder: Path = tmp_path_factory.mktemp("models")
    vocabularies = llama_cpp_source() / "models"
    write_random_llama(folder / _MODEL, vocabularies / "ggml-vocab-llama-spm.gguf")
    write_random_llama(folder / _CODER, vocabularies / "ggml-vocab-refact.gguf")
    write_random_lora(folder / "lora.gguf")
    with ServerProcess(folder) as process:
        settings = {"lora": [{"path": "lora.gguf"}], "threads": 1, "n_ctx": 512}
        process.post(f"/api/v2/models/{_MODEL}/load", settings)
        process.post(f"/api/v2/models/{_CODER}/load", {"threads": 1, "n_ctx": 512})
        yield process


def _answer(server: ServerProcess) -> str:
    body = {"model": _MODEL, "prompt": "Once upon a time", "temperature": 0, "n_predict": 12}
    text: str = server.post("/completion", body)["content"]
    return text


def _set(server: ServerProcess, *adapters: dict[str, Any]) -> list[float]:
    path = f"/lora-adapters?model={_MODEL}"
    return [adapter["scale"] for adapter in server.post(path, list(adapters))]


def test_a_scale_changes_the_answer_and_setting_it_back_restores_it(server: ServerProcess) -> None:
    [adapter] = server.get(f"/lora-adapters?model={_MODEL}")
    assert (adapter["id"], adapter["path"], adapter["scale"]) == (0, "lora.gguf", 1.0)
    full = _answer(server)
    assert _set(server) == [0.0]
    assert _answer(server) != full
    assert _set(server, {"id": 0, "scale": 1.0}) == [1.0]
    assert _answer(server) == full


def test_an_unknown_adapter_is_a_400(server: ServerProcess) -> None:
    body = [{"id": 1, "scale": 1.0}]
    status, document = server.request("POST", f"/lora-adapters?model={_MODEL}", body)
    assert (status, document["error"]["param"]) == (400, "id")


def test_a_model_with_infill_tokens_fills_a_gap(server: ServerProcess) -> None:
    gap = {"input_prefix": "int main() {\n", "input_suffix": "}\n", "prompt": "  return"}
    body = {"model": _CODER, "n_predict": 5, "temperature": 0} | gap
    plain = server.post("/infill", body)
    assert plain["tokens_predicted"] == 5
    extra = {"input_extra": [{"filename": "a.h", "text": "int zero();\n"}]}
    more = server.post("/infill", body | extra)
    assert more["tokens_evaluated"] > plain["tokens_evaluated"]
