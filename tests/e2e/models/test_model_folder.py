"""A folder of models of every kind: each is served by its name, without any setting."""

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_source import llama_cpp_source

from tests.support.paths import ROOT
from tests.support.png_file import png
from tests.support.random_bert import BertShape, write_random_bert
from tests.support.random_clip import N_IMAGE_TOKENS, write_random_clip
from tests.support.random_gguf import LlamaShape, write_random_llama
from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e

_BUNDLED = ROOT / "llamabind" / "models" / TINY
_WIDTH = 96
_CHAT = "/v1/chat/completions"


def _fill(folder: Path) -> None:
    vocabularies = llama_cpp_source() / "models"
    shutil.copy(_BUNDLED, folder / "chat.gguf")
    write_random_bert(folder / "embed.gguf", vocabularies / "ggml-vocab-bert-bge.gguf")
    # As older converters wrote rerankers: only the classifier's tensors tell.
    write_random_bert(
        folder / "rerank.gguf",
        vocabularies / "ggml-vocab-bert-bge.gguf",
        shape=BertShape(n_scores=1),
    )
    shape = LlamaShape(n_embd=_WIDTH, n_head=4, n_head_kv=2)
    write_random_llama(folder / "vision.gguf", vocabularies / "ggml-vocab-llama-spm.gguf", shape)
    write_random_clip(folder / "mmproj-model-f16.gguf", _WIDTH)
    for name in ("mtp-chat.gguf", "eagle3-chat.gguf", "dflash-chat.gguf", "imatrix.gguf"):
        shutil.copy(_BUNDLED, folder / name)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("models")
    _fill(folder)
    with ServerProcess(folder, "--no-bundled-model") as process:
        yield process


def _question(model: str, content: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": content}]
    return {"model": model, "messages": messages, "max_tokens": 4, "temperature": 0}


def _with_image() -> list[dict[str, Any]]:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    url = f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"
    return [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": url}}]


def test_only_models_are_listed_each_with_its_capabilities(server: ServerProcess) -> None:
    models = {model["id"]: model for model in server.get("/v1/models")["data"]}
    assert list(models) == ["chat.gguf", "embed.gguf", "rerank.gguf", "vision.gguf"]
    assert models["embed.gguf"]["capabilities"] == ["embedding"]
    assert models["rerank.gguf"]["capabilities"] == ["rerank"]
    assert "vision" in models["vision.gguf"]["capabilities"]
    assert "vision" not in models["chat.gguf"]["capabilities"]


@pytest.mark.parametrize("name", ["chat.gguf", "chat"])
def test_the_chat_model_answers(server: ServerProcess, name: str) -> None:
    answer = server.post(_CHAT, _question(name, "Name a colour."))
    assert answer["usage"]["completion_tokens"] > 0


def test_the_embedding_model_embeds(server: ServerProcess) -> None:
    answer = server.post("/v1/embeddings", {"model": "embed.gguf", "input": ["a", "b"]})
    assert [len(item["embedding"]) for item in answer["data"]] == [32, 32]


def test_the_reranker_ranks(server: ServerProcess) -> None:
    body = {"model": "rerank.gguf", "query": "x", "documents": ["a", "b c", "d"]}
    answer = server.post("/v1/rerank", body)
    assert sorted(item["index"] for item in answer["results"]) == [0, 1, 2]


def test_the_vision_model_reads_images_with_the_projector_beside_it(server: ServerProcess) -> None:
    text = server.post(_CHAT, _question("vision.gguf", "What?"))
    seen = server.post(_CHAT, _question("vision.gguf", _with_image()))
    extra = seen["usage"]["prompt_tokens"] - text["usage"]["prompt_tokens"]
    assert extra == N_IMAGE_TOKENS
    effective = server.get("/api/v2/models/vision.gguf")["settings"]["effective"]
    assert (effective["mmproj"], effective["vision"]) == ("mmproj-model-f16.gguf", True)


def test_a_load_may_leave_the_projector_out(server: ServerProcess) -> None:
    path = "/api/v2/models/vision.gguf/load"
    for body, expected in (({"mmproj": "none"}, False), ({}, True)):
        assert server.post(path, body)["settings"]["effective"]["vision"] is expected


def test_a_chat_model_embeds_beside_its_chats(server: ServerProcess) -> None:
    body = {"model": "chat.gguf", "input": ["The sky is blue.", "Dogs bark."]}
    first = server.post("/v1/embeddings", body)
    vectors = np.array([item["embedding"] for item in first["data"]])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)
    again = server.post("/v1/embeddings", body)
    assert again["data"] == first["data"]
    effective = server.get("/api/v2/models/chat.gguf")["settings"]["effective"]
    assert effective["embedding"] is False
    server.post(_CHAT, _question("chat.gguf", "Name a colour."))


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        (_CHAT, _question("embed.gguf", "Hi"), "an embedding model and cannot generate"),
        (_CHAT, _question("rerank.gguf", "Hi"), "a reranker and cannot generate"),
        ("/v1/embeddings", {"model": "rerank.gguf", "input": "a"}, "it is a reranker"),
        ("/v1/rerank", {"model": "embed.gguf", "query": "x", "documents": ["a"]}, "cannot rerank"),
        ("/v1/rerank", {"model": "chat.gguf", "query": "x", "documents": ["a"]}, "cannot rerank"),
    ],
)
def test_the_error_for_a_model_of_another_kind_names_its_kind(
    server: ServerProcess, path: str, body: dict[str, Any], words: str
) -> None:
    status, document = server.request("POST", path, body)
    assert status == 400
    assert words in document["error"]["message"]
    assert document["error"]["param"] == "model"


def test_a_projector_that_cannot_be_used_is_left_out_with_a_warning(tmp_path: Path) -> None:
    shutil.copy(_BUNDLED, tmp_path / "chat.gguf")
    write_random_clip(tmp_path / "mmproj-chat.gguf", 7 * _WIDTH)
    with ServerProcess(tmp_path, "--no-bundled-model") as server:
        server.post(_CHAT, _question("chat.gguf", "Hi"))
        status, estimate = server.request("POST", "/api/v2/models/chat.gguf/estimate", {})
        assert status == 200, estimate
        model = server.get("/api/v2/models/chat.gguf")
        assert model["settings"]["effective"]["mmproj"] is None
        assert any(text.startswith("mmproj: mmproj-chat.gguf") for text in model["warnings"])
        status, document = server.request(
            "POST", "/api/v2/models/chat.gguf/load", {"mmproj": "mmproj-chat.gguf"}
        )
    assert (status, document["error"]["param"]) == (400, "mmproj")


def test_a_broken_template_in_the_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    vocabulary = llama_cpp_source() / "models" / "ggml-vocab-llama-spm.gguf"
    broken = {"tokenizer.chat_template": "{% if %}"}
    write_random_llama(tmp_path / "broken.gguf", vocabulary, metadata=broken)
    with ServerProcess(tmp_path, "--no-bundled-model") as server:
        status, document = server.request("POST", _CHAT, _question("broken.gguf", "Hi"))
        assert (status, document["error"]["param"]) == (400, "chat_template")
        assert "template in the model's file" in document["error"]["message"]
        assert '"chatml"' in document["error"]["message"]
        server.post("/api/v2/models/broken.gguf/load", {"chat_template": "chatml"})
        server.post(_CHAT, _question("broken.gguf", "Hi"))


def test_one_model_takes_the_projector_beside_it_and_no_mmproj_leaves_it_out(
    tmp_path: Path,
) -> None:
    vocabulary = llama_cpp_source() / "models" / "ggml-vocab-llama-spm.gguf"
    write_random_llama(tmp_path / "vision.gguf", vocabulary)
    write_random_clip(tmp_path / "mmproj-vision.gguf", LlamaShape().n_embd)
    elsewhere = tmp_path / "empty"
    elsewhere.mkdir()
    arguments = ("-m", str(tmp_path / "vision.gguf"), "--models-dir", str(elsewhere))
    for flags, expected in ((), True), (("--no-mmproj",), False):
        with ServerProcess(tmp_path, *arguments, *flags) as server:
            server.post(_CHAT, _question("vision.gguf", "Hi"))
            effective = server.get("/api/v2/models/vision.gguf")["settings"]["effective"]
            assert effective["vision"] is expected
