"""/v1 as OpenAI's clients and llama-server's tools expect it, over a scripted engine."""

from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, events, make_app


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_gguf(tmp_path / "m.gguf")
    write_gguf(tmp_path / "org" / "n.gguf")
    return await aiohttp_client(make_app(tmp_path))


async def _complete(client: Client, status: int = 200, **body: Any) -> Any:
    response = await client.post("/v1/chat/completions", json={"model": "m.gguf"} | body)
    assert response.status == status, await response.text()
    return await response.json()


async def test_models_are_listed_with_keys_for_clients_of_other_servers(client: Client) -> None:
    document = await (await client.get("/v1/models")).json()
    assert document["object"] == "list"
    model = document["data"][0]
    assert (model["id"], model["object"]) == ("m.gguf", "model")
    assert isinstance(model["created"], int)
    assert model["meta"]["n_ctx_train"] == model["context_length"] == 2048
    assert model["max_model_len"] == 2048
    assert model["status"] == {"value": "unloaded", "state": "unloaded"}
    assert await (await client.get("/models")).json() == document


async def test_one_model_is_shown_also_from_a_sub_folder(client: Client) -> None:
    for model_id in ("m.gguf", "org/n.gguf", "org%2Fn.gguf"):
        response = await client.get(f"/v1/models/{model_id}")
        assert response.status == 200
    missing = await client.get("/v1/models/nothing")
    assert missing.status == 404
    assert (await missing.json())["error"]["code"] == "model_not_found"


async def test_a_completion_has_openais_form_and_llama_servers_timings(client: Client) -> None:
    answer = await _complete(client, **chat_body("echo: a b c"))
    assert answer.pop("id").startswith("chatcmpl-")
    assert isinstance(answer.pop("created"), int)
    timings = answer.pop("timings")
    assert timings["prompt_n"] + timings["cache_n"] == answer["usage"]["prompt_tokens"]
    assert timings["predicted_per_second"] == pytest.approx(2 * 1000 / 20.0)
    message = {"role": "assistant", "content": "a b c"}
    assert answer == {
        "object": "chat.completion",
        "model": "m.gguf",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        "system_fingerprint": "b1-fake",
    }


async def test_a_stream_begins_with_the_role_and_ends_with_an_empty_delta(client: Client) -> None:
    body = {"model": "m.gguf", "stream": True} | chat_body("echo: a b c")
    *chunks, done = await events(await client.post("/v1/chat/completions", json=body))
    assert done == "[DONE]"
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": None}
    assert "".join(choice["delta"]["content"] for choice in choices[1:-1]) == "a b c"
    assert choices[-1]["delta"] == {}
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(chunks) - 1) + ["stop"]
    assert "usage" not in chunks[-1]
    assert "timings" in chunks[-1]


async def test_usage_is_a_chunk_of_its_own_on_request(client: Client) -> None:
    body = {"model": "m.gguf", "stream": True, "stream_options": {"include_usage": True}}
    response = await client.post("/v1/chat/completions", json=body | chat_body("echo: a b c"))
    *others, usage, done = await events(response)
    assert done == "[DONE]"
    assert all(chunk["usage"] is None for chunk in others)
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 8
    assert usage["timings"]["predicted_n"] == 3


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "n_predict"])
async def test_every_name_of_the_limit_works(client: Client, field: str) -> None:
    answer = await _complete(client, **chat_body("echo: a b c", **{field: 2}))
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 257}, "top_logprobs"),
        ({"logit_bias": {"5": True}}, "logit_bias"),
        ({"logit_bias": [[1]]}, "logit_bias[0]"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"temperature": -1}, "temperature"),
        ({"seed": 1.5}, "seed"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"stream": "yes"}, "stream"),
    ],
)
async def test_what_cannot_be_honoured_is_a_400_that_names_the_field(
    client: Client, more: dict[str, Any], param: str
) -> None:
    answer = await _complete(client, 400, **(chat_body("echo: x") | more))
    assert answer["error"]["param"] == param


async def test_values_that_mean_the_default_are_accepted(client: Client) -> None:
    harmless = {"tools": [], "n": 1, "logprobs": False, "response_format": {"type": "text"}}
    answer = await _complete(client, **chat_body("echo: x", user="me", seed=-1, **harmless))
    assert answer["choices"][0]["message"]["content"] == "x"


async def test_content_parts_and_tool_history_reach_the_engine(client: Client) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
        {"role": "user", "content": [{"type": "text", "text": "echo: a b"}]},
    ]
    answer = await _complete(client, messages=messages)
    assert answer["choices"][0]["message"]["content"] == "a b"


async def test_a_deeply_nested_body_is_a_400(client: Client) -> None:
    start = b'{"model": "m.gguf", "messages": [{"role": "user", "content": "x"}]'
    deep = start + b', "json_schema": {"not": ' + b"[" * 100_000
    response = await client.post("/v1/chat/completions", data=deep)
    assert response.status == 400
    assert (await response.json())["error"]["code"] == "bad_json"


async def test_an_unknown_model_is_a_404_with_openais_code(client: Client) -> None:
    answer = await _complete(client, 404, **(chat_body("x") | {"model": "gpt-4"}))
    assert answer["error"]["code"] == "model_not_found"
