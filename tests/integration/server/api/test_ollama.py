"""Ollama's API over a scripted engine."""

import json
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, make_app


async def _post(client: Client, path: str, status: int = 200, **body: Any) -> Any:
    fields = {"model": "m", "stream": False} | body
    response = await client.post(f"/api/{path}", json=fields)
    assert response.status == status, await response.text()
    return await response.json()


async def _lines(client: Client, path: str, **body: Any) -> list[Any]:
    response = await client.post(f"/api/{path}", json={"model": "m:latest"} | body)
    assert response.content_type == "application/x-ndjson"
    return [json.loads(line) for line in (await response.text()).splitlines()]


async def test_a_chat_has_ollamas_form(client: Client) -> None:
    document = await _post(client, "chat", **chat_body("echo: a b"))
    assert document["message"] == {"role": "assistant", "content": "a b"}
    assert (document["model"], document["done"], document["done_reason"]) == ("m", True, "stop")
    assert (document["prompt_eval_count"], document["eval_count"]) == (5, 2)
    assert document["eval_duration"] == 20_000_000
    assert document["created_at"].endswith("Z")


async def test_a_stream_is_lines_with_the_calls_whole(client: Client) -> None:
    *pieces, last = await _lines(client, "chat", **chat_body("echo: <r> hm </r> a <f> {} </f>"))
    messages = [piece["message"] for piece in pieces]
    assert [message.get("thinking") for message in messages] == ["hm", None, None]
    assert [message["content"] for message in messages] == ["", "a", ""]
    called = {"id": "call1", "function": {"name": "f", "arguments": {}}}
    assert messages[-1]["tool_calls"] == [called]
    assert not any(piece["done"] for piece in pieces)
    assert (last["done"], last["done_reason"]) == (True, "stop")


@pytest.mark.parametrize("text", ['echo: <f> {"x": 1} </f>', "echo: <f> {} </f> <g> {} </g>"])
async def test_a_call_that_was_cut_off_is_left_out(client: Client, text: str) -> None:
    # One token less than its arguments need, after whatever whole call there is before it.
    limit = text.count(" ") - 2
    body = chat_body(text, options={"num_predict": limit})
    whole = await _post(client, "chat", **body)
    assert whole["done_reason"] == "length"
    names = [call["function"]["name"] for call in whole["message"].get("tool_calls", [])]
    assert names == ["f"] * (text.count("{") - 1)
    *pieces, last = await _lines(client, "chat", **body)
    calls = [call for piece in pieces for call in piece["message"].get("tool_calls", [])]
    assert [call["function"]["name"] for call in calls] == names
    assert last["done_reason"] == "length"


async def test_a_prompt_is_answered_and_limited(client: Client) -> None:
    document = await _post(client, "generate", prompt="echo: a b")
    assert document["response"] == "a b"
    limited = await _post(client, "generate", prompt="forever", options={"num_predict": 2})
    assert (limited["done_reason"], limited["eval_count"]) == ("length", 2)
    *pieces, last = await _lines(client, "generate", prompt="echo: a b", raw=True)
    assert "".join(piece["response"] for piece in pieces) == "a b"
    assert last["done"]


async def test_asking_nothing_loads_and_unloads(client: Client) -> None:
    assert (await _post(client, "generate"))["done_reason"] == "load"
    running = await (await client.get("/api/ps")).json()
    assert [model["name"] for model in running["models"]] == ["m.gguf"]
    assert (await _post(client, "chat", keep_alive=0))["done_reason"] == "unload"
    assert await (await client.get("/api/ps")).json() == {"models": []}


async def test_models_are_listed_and_shown(client: Client) -> None:
    (model,) = (await (await client.get("/api/tags")).json())["models"]
    assert (model["name"], model["details"]["format"]) == ("m.gguf", "gguf")
    shown = await _post(client, "show")
    assert shown["details"]["family"] == shown["model_info"]["general.architecture"]
    assert "completion" in shown["capabilities"]
    assert "version" in await (await client.get("/api/version")).json()


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ messages }}{% if tools %}{{ tools }}{% endif %}", ["completion", "tools"]),
        ("{# no tools #}You have tools.{{ messages[0].content }}", ["completion"]),
        ("<think>{{ messages }}", ["completion", "thinking"]),
        ("", ["completion"]),
    ],
)
async def test_only_a_template_that_knows_tools_can_call_them(
    aiohttp_client: AiohttpClient, tmp_path: Path, template: str, words: list[str]
) -> None:
    write_gguf(tmp_path / "m.gguf", tokenizer__chat_template=template)
    client = await aiohttp_client(make_app(tmp_path))
    shown = await _post(client, "show")
    assert (shown["capabilities"], shown["template"]) == (words, template)


@pytest.mark.parametrize("think", [True, "low"])
async def test_only_a_template_that_supports_reasoning_can_be_asked_to_think(
    aiohttp_client: AiohttpClient, tmp_path: Path, think: Any
) -> None:
    write_gguf(tmp_path / "thinks.gguf", tokenizer__chat_template="<think>{{ messages }}")
    write_gguf(tmp_path / "m.gguf", tokenizer__chat_template="{{ messages }}")
    client = await aiohttp_client(make_app(tmp_path))
    asked = chat_body("echo: a", think=think)
    assert (await _post(client, "chat", model="thinks", **asked))["message"]["content"] == "a"
    for path, body in (("chat", asked), ("generate", {"prompt": "echo: a", "think": think})):
        refused = await _post(client, path, 400, **body)
        assert refused["param"] == "think"
        assert "does not support thinking" in refused["error"]
    await _post(client, "chat", **(asked | {"think": False}))


@pytest.mark.parametrize("path", ["chat", "generate"])
async def test_log_probabilities_stand_beside_the_text(client: Client, path: str) -> None:
    body = {"prompt": "echo: a b"} if path == "generate" else chat_body("echo: a b")
    asked = body | {"logprobs": True, "top_logprobs": 1}
    whole = (await _post(client, path, **asked))["logprobs"]
    assert [(entry["token"], entry["logprob"]) for entry in whole] == [("<1>", -0.5), ("<2>", -0.5)]
    assert [len(entry["top_logprobs"]) for entry in whole] == [1, 1]
    lines = await _lines(client, path, **asked)
    assert [entry for line in lines for entry in line.get("logprobs", ())] == whole
    assert "logprobs" not in await _post(client, path, **(body | {"top_logprobs": 1}))


async def test_vectors_come_for_each_input(client: Client) -> None:
    document = await _post(client, "embed", input=["a", "bcd"])
    assert document["embeddings"] == [[1.0, 0.0, 4.0, 3.0], [3.0, 0.0, 4.0, 3.0]]
    assert document["prompt_eval_count"] == 4


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("chat", chat_body("a") | {"options": {"top_p": 2}}, "options.top_p"),
        ("chat", chat_body("a") | {"options": {"num_predict": "x"}}, "options.num_predict"),
        ("chat", {"messages": [{"role": "king", "content": "a"}]}, "messages[0].role"),
        ("chat", {"messages": [{"role": "user", "images": ["x"]}]}, "messages[0].images[0]"),
        ("generate", {"prompt": "a", "suffix": "b"}, "suffix"),
        ("generate", {"prompt": "a", "format": "xml"}, "format"),
        ("embed", {"input": []}, "input"),
    ],
)
async def test_a_wrong_body_is_an_error_in_ollamas_form(
    client: Client, path: str, body: dict[str, Any], param: str
) -> None:
    document = await _post(client, path, 400, **body)
    assert isinstance(document["error"], str)
    assert document["param"].endswith(param.split(".")[-1])


async def test_an_unknown_model_is_404(client: Client) -> None:
    document = await _post(client, "chat", 404, **chat_body("a"), model="nothing")
    assert "nothing" in document["error"]


async def test_only_an_admin_loads_and_unloads(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    app = make_app(tmp_path, api_keys=("a",), admin_keys=("b",))
    client = await aiohttp_client(app, headers={"Authorization": "Bearer a"})
    assert "admin" in (await _post(client, "generate", 403))["error"]
    assert (await _post(client, "generate", prompt="echo: a"))["response"] == "a"
    assert "admin" in (await _post(client, "chat", 403, keep_alive=0))["error"]
