"""Text completions over a scripted engine, in OpenAI's and llama-server's forms."""

import json
from pathlib import Path
from typing import Any

import pytest
from gguf_files import write_gguf
from pytest_aiohttp.plugin import AiohttpClient
from server_app import Client, events, make_app


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_gguf(tmp_path / "m.gguf")
    return await aiohttp_client(make_app(tmp_path))


async def _post(client: Client, path: str, status: int = 200, **body: Any) -> Any:
    response = await client.post(path, json={"model": "m.gguf"} | body)
    assert response.status == status, await response.text()
    return await response.json()


async def test_a_completion_has_openais_form(client: Client) -> None:
    document = await _post(client, "/v1/completions", prompt="echo: a b")
    assert document["id"].startswith("cmpl-")
    assert (document["object"], document["model"]) == ("text_completion", "m.gguf")
    choice = {"index": 0, "text": "a b", "finish_reason": "stop", "logprobs": None}
    assert document["choices"] == [choice]
    assert document["usage"]["total_tokens"] == 7
    assert document["timings"]["predicted_n"] == 2


async def test_several_prompts_are_answered_in_their_order(client: Client) -> None:
    prompts = ["echo: a b", "echo: c"]
    document = await _post(client, "/v1/completions", prompt=prompts, n=2)
    assert [choice["text"] for choice in document["choices"]] == ["a b", "a b", "c", "c"]
    assert [choice["index"] for choice in document["choices"]] == [0, 1, 2, 3]
    assert document["usage"]["prompt_tokens"] == 10
    assert document["usage"]["completion_tokens"] == 6


async def test_log_probabilities_have_the_older_form(client: Client) -> None:
    document = await _post(client, "/v1/completions", prompt="echo: a b", logprobs=2)
    assert document["choices"][0]["logprobs"] == {
        "tokens": ["<1>", "<2>"],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{"<1>": -0.5, "<99>": -1.5}, {"<2>": -0.5, "<99>": -1.5}],
        "text_offset": [0, 3],
    }


async def test_a_stream_brings_texts_and_usage_on_request(client: Client) -> None:
    body = {"model": "m.gguf", "prompt": "echo: a b", "stream": True}
    body["stream_options"] = {"include_usage": True}
    *chunks, usage, done = await events(await client.post("/v1/completions", json=body))
    assert done == "[DONE]"
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "a b"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-1] == "stop"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 2


async def test_llama_servers_form_tells_why_it_ended(client: Client) -> None:
    document = await _post(client, "/completion", prompt="echo: a b", return_tokens=True)
    assert (document["content"], document["stop"], document["stop_type"]) == ("a b", True, "eos")
    assert document["tokens"] == [1, 2]
    assert document["tokens_evaluated"] == 5
    limited = await _post(client, "/completions", prompt="forever", n_predict=2)
    assert (limited["stop_type"], limited["tokens_predicted"]) == ("limit", 2)


async def test_llama_servers_stream_ends_without_a_mark(client: Client) -> None:
    body = {"model": "m.gguf", "prompt": "echo: a b", "stream": True}
    text = await (await client.post("/completion", json=body)).text()
    documents = [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line]
    assert "".join(document["content"] for document in documents) == "a b"
    assert [document["stop"] for document in documents] == [False, False, True]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/completions", {}, "prompt"),
        ("/v1/completions", {"prompt": []}, "prompt"),
        ("/v1/completions", {"prompt": [1, [2]]}, "prompt"),
        ("/v1/completions", {"prompt": ["a"] * 129}, "prompt"),
        ("/v1/completions", {"prompt": ["a", "b"], "stream": True}, "prompt"),
        ("/v1/completions", {"prompt": [-1]}, "prompt[0]"),
        ("/v1/completions", {"prompt": "a", "suffix": "b"}, "suffix"),
        ("/v1/completions", {"prompt": "a", "best_of": 2}, "best_of"),
        ("/v1/completions", {"prompt": "a", "echo": True, "logprobs": 1}, "logprobs"),
        ("/v1/completions", {"prompt": "a", "top_p": 2}, "top_p"),
        ("/completion", {"prompt": "a", "n": 2}, "n"),
        ("/completion", {"prompt": [["a"]]}, "prompt[0]"),
    ],
)
async def test_what_cannot_be_honoured_is_a_400_that_names_the_field(
    client: Client, path: str, body: dict[str, Any], param: str
) -> None:
    document = await _post(client, path, 400, **body)
    assert document["error"]["param"] == param
