"""Tokens, prompts and embeddings over HTTP, with the bundled model and a random encoder."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from llama_source import llama_cpp_source

from llamabind import load_embedding_engine
from tests.support.random_bert import BertShape, write_random_bert
from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e

_ENCODER, _RERANKER = "encoder.gguf", "reranker.gguf"
_MEAN, _RANK = 1, 4  # llama_pooling_type
_TEXTS = ["Paris is a city.", "Dogs bark."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    vocabulary = llama_cpp_source() / "models" / "ggml-vocab-bert-bge.gguf"
    write_random_bert(path / _ENCODER, vocabulary, _MEAN)
    write_random_bert(path / _RERANKER, vocabulary, _RANK, BertShape(n_scores=1))
    return path


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    with ServerProcess(folder) as process:
        for name in (_ENCODER, _RERANKER):
            process.post(f"/api/v2/models/{name}/load", {"embedding": True, "threads": 1})
        yield process


def test_tokenise_and_detokenise_return_the_text(server: ServerProcess) -> None:
    text = "naïve 🦙 <|im_end|>"
    tokens = server.post("/tokenize", {"model": TINY, "content": text})["tokens"]
    assert server.post("/detokenize", {"model": TINY, "tokens": tokens}) == {"content": text}
    body = {"model": TINY, "content": text, "with_pieces": True}
    pieces = server.post("/tokenize", body)["tokens"]
    assert [piece["id"] for piece in pieces] == tokens
    raw = [
        p["piece"].encode() if isinstance(p["piece"], str) else bytes(p["piece"]) for p in pieces
    ]
    assert b"".join(raw).decode() == text


def test_the_tokens_of_a_chats_prompt_equal_its_usage(server: ServerProcess) -> None:
    chat = {"model": TINY, "messages": [{"role": "user", "content": "hello"}]}
    prompt = server.post("/apply-template", chat)["prompt"]
    body = {"model": TINY, "content": prompt, "add_special": True}
    n_tokens = len(server.post("/tokenize", body)["tokens"])
    answer = server.post("/v1/chat/completions", chat | {"max_tokens": 1})
    assert answer["usage"]["prompt_tokens"] == n_tokens


def test_embeddings_equal_those_of_the_library(server: ServerProcess, folder: Path) -> None:
    document = server.post("/v1/embeddings", {"model": _ENCODER, "input": _TEXTS})
    vectors = np.array([item["embedding"] for item in document["data"]])
    with load_embedding_engine(folder / _ENCODER) as engine:
        expected = engine.embed(_TEXTS)
        n_tokens = sum(map(len, engine.tokenize(_TEXTS)))
    np.testing.assert_allclose(vectors, expected, atol=1e-3)
    assert document["usage"] == {"prompt_tokens": n_tokens, "total_tokens": n_tokens}


def test_rerank_scores_equal_those_of_the_library(server: ServerProcess, folder: Path) -> None:
    body = {"model": _RERANKER, "query": "animals", "documents": _TEXTS}
    results = server.post("/v1/rerank", body)["results"]
    with load_embedding_engine(folder / _RERANKER) as engine:
        expected = engine.rerank("animals", _TEXTS)
    scores = [score for _, score in sorted((r["index"], r["relevance_score"]) for r in results)]
    np.testing.assert_allclose(scores, expected, atol=1e-3)
    assert results[0]["relevance_score"] >= results[1]["relevance_score"]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/v1/embeddings", {"model": _RERANKER, "input": "a"}, "rank"),
        ("/v1/embeddings", {"model": _ENCODER, "input": "a " * 500}, "too large for n_ctx"),
        ("/v1/embeddings", {"model": _ENCODER, "input": [10**6]}, "token id outside of"),
        ("/v1/rerank", {"model": _ENCODER, "query": "a", "documents": ["b"]}, "rank"),
        (
            "/v1/chat/completions",
            {"model": _ENCODER, "messages": [{"role": "user", "content": "a"}]},
            "embedding model",
        ),
        ("/detokenize", {"model": TINY, "tokens": [10**6]}, "token 1000000"),
    ],
)
def test_a_request_that_the_model_cannot_serve_is_a_400_with_the_reason(
    server: ServerProcess, path: str, body: dict[str, object], words: str
) -> None:
    status, document = server.request("POST", path, body)
    assert status == 400
    assert words in document["error"]["message"]
