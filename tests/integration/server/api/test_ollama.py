"""Ollama's API over a scripted engine."""

import json
import os
import re
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
    called = {"id": "call1", "function": {"index": 0, "name": "f", "arguments": {}}}
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


async def test_the_version_is_that_of_ollamas_api(client: Client) -> None:
    for method in ("GET", "HEAD"):
        assert (await client.request(method, "/api/version")).status == 200
    document = await (await client.get("/api/version")).json()
    assert tuple(map(int, document["version"].split("."))) >= (0, 14, 2)
    assert document["llamabind"]


async def test_each_model_has_a_digest_of_its_own(client: Client, tmp_path: Path) -> None:
    (tmp_path / "copy.gguf").write_bytes((tmp_path / "m.gguf").read_bytes())

    async def digests() -> dict[str, str]:
        models = (await (await client.get("/api/tags")).json())["models"]
        return {model["name"]: model["digest"] for model in models}

    first = await digests()
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in first.values())
    assert len(set(first.values())) == 2
    assert await digests() == first
    await _post(client, "generate")
    [running] = (await (await client.get("/api/ps")).json())["models"]
    assert running["digest"] == first["m.gguf"]
    os.utime(tmp_path / "m.gguf", (1, 1))
    assert (await digests())["m.gguf"] != first["m.gguf"]


@pytest.mark.parametrize("key", ["model", "name"])
async def test_a_model_is_shown_by_either_name(client: Client, key: str) -> None:
    shown: dict[str, Any] = {}
    for name in ("m", "m.gguf", "m:latest"):
        response = await client.post("/api/show", json={key: name, "verbose": True})
        shown = await response.json()
        assert response.status == 200, shown
        assert {"modelfile", "parameters", "template", "details", "model_info"} <= shown.keys()
    assert shown["modelfile"].splitlines()[1] == "FROM m.gguf"
    assert re.search(r"^temperature +0\.8$", shown["parameters"], re.MULTILINE)
    assert shown["model_info"]["general.parameter_count"] == 0


@pytest.mark.parametrize("body", [{}, {"name": None}, {"name": ""}])
async def test_a_model_to_show_is_required(client: Client, body: dict[str, Any]) -> None:
    response = await client.post("/api/show", json=body)
    assert response.status == 400
    assert isinstance((await response.json())["error"], str)


async def test_the_levels_of_thinking_are_shown(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    template = "<think>{{ messages }}{{ reasoning_effort }}"
    write_gguf(tmp_path / "m.gguf", tokenizer__chat_template=template)
    write_gguf(tmp_path / "plain.gguf", tokenizer__chat_template="{{ messages }}")
    client = await aiohttp_client(make_app(tmp_path))
    shown = (await _post(client, "show"))["thinking"]
    assert shown == {"values": [False, True, "low", "medium", "high"], "default": True}
    assert "thinking" not in await _post(client, "show", model="plain")
    for think in (True, False, "low", "max", "none", "true", 0):
        await _post(client, "chat", **chat_body("echo: a", think=think))
    response = await client.post(
        "/api/chat", json=chat_body("echo: a", think="much", model="m", stream=False)
    )
    assert response.status == 200
    assert "'much'" in response.headers["X-Llamabind-Warnings"]


async def test_a_prompt_is_embedded_in_the_older_form(client: Client) -> None:
    document = await _post(client, "embeddings", prompt="bcd")
    assert document == {"embedding": [3.0, 0.0, 4.0, 3.0]}
    assert await _post(client, "embeddings", prompt="") == {"embedding": []}
    assert await _post(client, "embeddings") == {"embedding": []}


async def test_an_embedding_tells_how_long_the_load_took(client: Client) -> None:
    first = await _post(client, "embed", input="a")
    assert 0 < first["load_duration"] <= first["total_duration"]
    assert (await _post(client, "embed", input="a"))["load_duration"] == 0


@pytest.mark.parametrize("inputs", [[], None])
async def test_without_an_input_the_model_is_loaded(client: Client, inputs: Any) -> None:
    assert (await _post(client, "embed", input=inputs))["embeddings"] == []
    assert len((await (await client.get("/api/ps")).json())["models"]) == 1


@pytest.mark.parametrize(("dimensions", "n"), [(0, 4), (2, 2), (2.0, 2), (4, 4), (9999, 4)])
async def test_an_embedding_has_at_most_the_dimensions_of_the_model(
    client: Client, dimensions: float, n: int
) -> None:
    document = await _post(client, "embed", input="a", dimensions=dimensions)
    assert len(document["embeddings"][0]) == n


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
        await _post(client, path, **body, options=options)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_larger_context_than_the_models_is_a_warning(client: Client, stream: bool) -> None:
    for n_ctx, has_warning in ((64, False), (65, True)):
        body = chat_body("echo: a", model="m", stream=stream, options={"num_ctx": n_ctx})
        response = await client.post("/api/chat", json=body)
        assert response.status == 200
        assert ("num_ctx" in response.headers.get("X-Llamabind-Warnings", "")) is has_warning


async def test_a_gap_is_filled(client: Client) -> None:
    document = await _post(client, "generate", prompt="echo: a", suffix="b")
    assert document["response"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat", chat_body("echo: a")),
        ("generate", {"prompt": "echo: a"}),
        ("embed", {"input": "a"}),
        ("embeddings", {"prompt": "a"}),
        ("show", {}),
    ],
)
async def test_an_unknown_model_is_404_where_one_file_is_served(
    aiohttp_client: AiohttpClient, tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    write_gguf(tmp_path / "m.gguf")
    app = make_app(tmp_path, model_file=tmp_path / "m.gguf", aliases=("short",))
    client = await aiohttp_client(app)
    document = await _post(client, path, 404, **body, model="gpt-oss:20b")
    assert "gpt-oss:20b" in document["error"]
    for name in ("m", "m.gguf", "short", "short:latest"):
        await _post(client, path, **body, model=name)
