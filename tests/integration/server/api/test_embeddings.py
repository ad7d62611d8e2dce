"""Embeddings and reranking over a scripted engine: [n, 0, 4, 3] for a text of n characters."""

import base64
import struct
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.server_app import Client, make_app, post


async def test_openais_form_has_a_vector_for_each_input_and_counts(client: Client) -> None:
    document = await post(client, "/v1/embeddings", input=["a", "bcd"])
    assert document == {
        "object": "list",
        "model": "m.gguf",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [1.0, 0.0, 4.0, 3.0]},
            {"object": "embedding", "index": 1, "embedding": [3.0, 0.0, 4.0, 3.0]},
        ],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }


async def test_a_vector_comes_as_base64_of_floats(client: Client) -> None:
    document = await post(client, "/v1/embeddings", input="ab", encoding_format="base64")
    raw = base64.b64decode(document["data"][0]["embedding"])
    assert struct.unpack("<4f", raw) == (2.0, 0.0, 4.0, 3.0)


async def test_a_shortened_vector_has_length_one_again(client: Client) -> None:
    document = await post(client, "/v1/embeddings", input="abc", dimensions=3)
    assert document["data"][0]["embedding"] == pytest.approx([0.6, 0.0, 0.8])


@pytest.mark.parametrize(
    ("value", "n_inputs"),
    [
        ("a", 1),
        ([1, 2, 3], 1),
        ([1, "a", 3], 1),
        ([[1, 2], [3]], 2),
        (["a", [1]], 2),
        (["a", [1, "b"]], 2),
        ({"prompt_string": "a"}, 1),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, 1),
        (["a", {"prompt_string": [1, "b"]}, {"content": [{"type": "text", "text": "c"}]}], 3),
    ],
)
async def test_inputs_are_texts_or_tokens(client: Client, value: Any, n_inputs: int) -> None:
    document = await post(client, "/v1/embeddings", input=value)
    assert len(document["data"]) == n_inputs


async def test_llama_servers_older_form_is_a_list(client: Client) -> None:
    expected = [{"index": 0, "embedding": [[1.0, 0.0, 4.0, 3.0]]}]
    assert await post(client, "/embedding", content="a") == expected
    assert await post(client, "/embeddings", input="a") == expected


async def test_a_request_or_the_server_chooses_the_norm(
    client: Client, aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    for path, vector_of in (
        ("/embedding", lambda document: document[0]["embedding"][0]),
        ("/v1/embeddings", lambda document: document["data"][0]["embedding"]),
    ):
        document = await post(client, path, input="a", embd_normalize=1)
        assert vector_of(document) == pytest.approx([0.125, 0.0, 0.5, 0.375])
    other = await aiohttp_client(make_app(tmp_path, embd_normalize=0))
    document = await post(other, "/embedding", input="a")
    assert max(document[0]["embedding"][0]) == pytest.approx(32760.0)


async def test_documents_are_ranked_best_first(client: Client) -> None:
    body: dict[str, Any] = {"query": "q", "documents": ["a", "bcd", "ef"]}
    document = await post(client, "/v1/rerank", **body, top_n=2, return_documents=True)
    assert document["results"] == [
        {"index": 1, "relevance_score": 3.0, "document": {"text": "bcd"}},
        {"index": 2, "relevance_score": 2.0, "document": {"text": "ef"}},
    ]
    assert document["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    assert len((await post(client, "/reranking", **body))["results"]) == 3


async def test_texts_are_ranked_in_the_form_of_text_embeddings_inference(client: Client) -> None:
    body: dict[str, Any] = {"query": "q", "texts": ["a", "bcd", "ef"]}
    ranked = [{"index": 1, "score": 3.0}, {"index": 2, "score": 2.0}, {"index": 0, "score": 1.0}]
    assert await post(client, "/rerank", **body) == ranked
    first = await post(client, "/rerank", **body, return_text=True, top_n=1)
    assert first == [{"index": 1, "score": 3.0, "text": "bcd"}]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/embeddings", {}, "input"),
        ("/v1/embeddings", {"input": []}, "input"),
        ("/v1/embeddings", {"input": [1, ["a"]]}, "input"),
        ("/v1/embeddings", {"input": {}}, "input"),
        ("/v1/embeddings", {"input": {"content": [{"type": "image_url"}]}}, "input.content[0]"),
        ("/v1/embeddings", {"input": ["a", {"content": [{"type": "x"}]}]}, "input[1].content[0]"),
        ("/v1/embeddings", {"input": "a", "embd_normalize": -2}, "embd_normalize"),
        ("/v1/embeddings", {"input": [-1]}, "input[0]"),
        ("/v1/embeddings", {"input": "a", "dimensions": 5}, "dimensions"),
        ("/v1/embeddings", {"input": "a", "dimensions": 0}, "dimensions"),
        ("/v1/embeddings", {"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ("/v1/embeddings", {"input": "a", "model": None}, "model"),
        ("/v1/embeddings", {"input": ""}, "input"),
        ("/embedding", {}, "content"),
        ("/v1/rerank", {"query": "q", "documents": []}, "documents"),
        ("/v1/rerank", {"query": "q"}, "documents"),
        ("/v1/rerank", {"query": "q", "texts": []}, "texts"),
        ("/v1/rerank", {"documents": ["a"]}, "query"),
        ("/v1/rerank", {"query": "q", "documents": ["a"], "top_n": -1}, "top_n"),
    ],
)
async def test_a_wrong_body_is_a_400_that_names_the_field(
    client: Client, path: str, body: dict[str, Any], param: str
) -> None:
    document = await post(client, path, 400, **body)
    assert document["error"]["param"] == param
