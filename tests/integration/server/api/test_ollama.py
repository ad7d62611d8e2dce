"""Ollama's API over a scripted engine."""

from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.gguf_files import write_gguf
from tests.support.ollama_requests import post, read_lines
from tests.support.server_app import Client, chat_body, make_app


async def test_a_chat_has_ollamas_form(client: Client) -> None:
    document = await post(client, "chat", **chat_body("echo: a b"))
    assert document["message"] == {"role": "assistant", "content": "a b"}
    assert (document["model"], document["done"], document["done_reason"]) == ("m", True, "stop")
    assert (document["prompt_eval_count"], document["eval_count"]) == (5, 2)
    assert document["eval_duration"] == 20_000_000
    assert document["created_at"].endswith("Z")


async def test_a_stream_is_lines_with_the_calls_whole(client: Client) -> None:
    *pieces, last = await read_lines(client, "chat", **chat_body("echo: <r> hm </r> a <f> {} </f>"))
    messages = [piece["message"] for piece in pieces]
    assert [message.get("thinking") for message in messages] == ["hm", None, None]
    assert [message["content"] for message in messages] == ["", "a", ""]
    called = {"id": "call1", "function": {"index": 0, "name": "f", "arguments": {}}}
    assert messages[-1]["tool_calls"] == [called]
    assert not any(piece["done"] for piece in pieces)
    assert (last["done"], last["done_reason"]) == (True, "stop")


@pytest.mark.parametrize("text", ['echo: <f> {"x": 1} </f>', "echo: <f> {} </f> <g> {} </g>"])
async def test_a_call_that_was_cut_off_is_left_out(client: Client, text: str) -> None:
    # One token less than its arguments need, after whatever whole call there is before it.
    limit = text.count(" ") - 2
    body = chat_body(text, options={"num_predict": limit})
    whole = await post(client, "chat", **body)
    assert whole["done_reason"] == "length"
    names = [call["function"]["name"] for call in whole["message"].get("tool_calls", [])]
    assert names == ["f"] * (text.count("{") - 1)
    *pieces, last = await read_lines(client, "chat", **body)
    calls = [call for piece in pieces for call in piece["message"].get("tool_calls", [])]
    assert [call["function"]["name"] for call in calls] == names
    assert last["done_reason"] == "length"


async def test_a_prompt_is_answered_and_limited(client: Client) -> None:
    document = await post(client, "generate", prompt="echo: a b")
    assert document["response"] == "a b"
    limited = await post(client, "generate", prompt="forever", options={"num_predict": 2})
    assert (limited["done_reason"], limited["eval_count"]) == ("length", 2)
    *pieces, last = await read_lines(client, "generate", prompt="echo: a b", raw=True)
    assert "".join(piece["response"] for piece in pieces) == "a b"
    assert last["done"]


async def test_a_request_without_a_prompt_loads_or_unloads(client: Client) -> None:
    assert (await post(client, "generate"))["done_reason"] == "load"
    running = await (await client.get("/api/ps")).json()
    assert [model["name"] for model in running["models"]] == ["m.gguf"]
    assert (await post(client, "chat", keep_alive=0))["done_reason"] == "unload"
    assert await (await client.get("/api/ps")).json() == {"models": []}


@pytest.mark.parametrize("path", ["chat", "generate"])
async def test_log_probabilities_stand_beside_the_text(client: Client, path: str) -> None:
    body = {"prompt": "echo: a b"} if path == "generate" else chat_body("echo: a b")
    asked = body | {"logprobs": True, "top_logprobs": 1}
    whole = (await post(client, path, **asked))["logprobs"]
    assert [(entry["token"], entry["logprob"]) for entry in whole] == [("<1>", -0.5), ("<2>", -0.5)]
    assert [len(entry["top_logprobs"]) for entry in whole] == [1, 1]
    lines = await read_lines(client, path, **asked)
    assert [entry for line in lines for entry in line.get("logprobs", ())] == whole
    assert "logprobs" not in await post(client, path, **(body | {"top_logprobs": 1}))


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("chat", chat_body("a") | {"options": {"top_p": 2}}, "options.top_p"),
        ("chat", chat_body("a") | {"options": {"num_predict": "x"}}, "options.num_predict"),
        ("chat", {"messages": [{"role": "king", "content": "a"}]}, "messages[0].role"),
        ("chat", {"messages": [{"role": "user", "images": ["x"]}]}, "messages[0].images[0]"),
        ("generate", {"prompt": "a", "template": "{{ .Prompt }}"}, "template"),
        ("generate", {"prompt": "a", "suffix": "b", "images": ["eA=="]}, "images"),
        ("generate", {"prompt": "a", "format": "xml"}, "format"),
        ("embed", {"input": [["a"]]}, "input[0]"),
        ("embeddings", {"prompt": ["a", "b"]}, "prompt"),
    ],
)
async def test_a_wrong_body_is_an_error_in_ollamas_form(
    client: Client, path: str, body: dict[str, Any], param: str
) -> None:
    document = await post(client, path, 400, **body)
    assert isinstance(document["error"], str)
    assert document["param"].endswith(param.split(".")[-1])


async def test_an_unknown_model_is_404(client: Client) -> None:
    document = await post(client, "chat", 404, **chat_body("a"), model="nothing")
    assert "nothing" in document["error"]


async def test_only_an_admin_loads_and_unloads(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    app = make_app(tmp_path, api_keys=("a",), admin_keys=("b",))
    client = await aiohttp_client(app, headers={"Authorization": "Bearer a"})
    assert "admin" in (await post(client, "generate", 403))["error"]
    assert (await post(client, "generate", prompt="echo: a"))["response"] == "a"
    assert "admin" in (await post(client, "chat", 403, keep_alive=0))["error"]


async def test_the_version_is_that_of_ollamas_api(client: Client) -> None:
    for method in ("GET", "HEAD"):
        assert (await client.request(method, "/api/version")).status == 200
    document = await (await client.get("/api/version")).json()
    assert tuple(map(int, document["version"].split("."))) >= (0, 14, 2)
    assert document["llamabind"]


_OPTIONS = {
    "num_keep": 5,
    "seed": 42,
    "num_predict": 100,
    "top_k": 20,
    "top_p": 0.9,
    "min_p": 0.0,
    "typical_p": 0.7,
    "repeat_last_n": 33,
    "temperature": 0.8,
    "repeat_penalty": 1.2,
    "presence_penalty": 1.5,
    "frequency_penalty": 1.0,
    "mirostat": 1,
    "mirostat_tau": 0.8,
    "mirostat_eta": 0.6,
    "penalize_newline": True,
    "stop": ["\n", "user:"],
    "numa": False,
    "num_ctx": 32,
    "num_batch": 2,
    "num_gpu": 1,
    "main_gpu": 0,
    "low_vram": False,
    "vocab_only": False,
    "use_mmap": True,
    "use_mlock": False,
    "num_thread": 8,
    "tfs_z": 1.0,
    "f16_kv": True,
    "logits_all": False,
    "embedding_only": False,
    "no_such": {"a": 1},
}


@pytest.mark.parametrize("path", ["chat", "generate", "embed", "embeddings"])
async def test_every_option_of_ollama_is_taken(client: Client, path: str) -> None:
    body = {"prompt": "echo: a", "input": "a"} if path != "chat" else chat_body("echo: a")
    fields = body | {"model": "m", "stream": False, "options": _OPTIONS | {"num_gqa": None}}
    response = await client.post(f"/api/{path}", json=fields)
    assert response.status == 200, await response.text()
    warnings = response.headers["X-Llamabind-Warnings"]
    assert "options.num_gpu is ignored" in warnings or "more" in warnings
    assert "num_gqa" not in warnings
    assert "options.temperature" not in warnings or path.startswith("embed")


@pytest.mark.parametrize(
    "options",
    [
        {"repeat_last_n": -1},
        {"repeat_last_n": -1.0, "repeat_penalty": 1.1},
        {"num_predict": -1},
        {"num_predict": -2},
        {"num_predict": "3"},
        {"num_predict": 10**12},
        {"seed": 2**53 - 1},
        {"seed": -1},
        {"temperature": None, "stop": None},
        {"stop": "x"},
        {"stop": []},
        {},
        None,
    ],
)
async def test_options_are_taken_in_every_form(client: Client, options: Any) -> None:
    for path, body in (("chat", chat_body("echo: a")), ("generate", {"prompt": "echo: a"})):
        await post(client, path, **body, options=options)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_larger_context_than_the_models_is_a_warning(client: Client, stream: bool) -> None:
    for n_ctx, has_warning in ((64, False), (65, True)):
        body = chat_body("echo: a", model="m", stream=stream, options={"num_ctx": n_ctx})
        response = await client.post("/api/chat", json=body)
        assert response.status == 200
        assert ("num_ctx" in response.headers.get("X-Llamabind-Warnings", "")) is has_warning


async def test_a_gap_is_filled(client: Client) -> None:
    document = await post(client, "generate", prompt="echo: a", suffix="b")
    assert document["response"]
