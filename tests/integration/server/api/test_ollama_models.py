"""Ollama's lists and descriptions of models."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.gguf_files import write_gguf
from tests.support.ollama_requests import post
from tests.support.server_app import Client, chat_body, make_app


async def test_models_are_listed_and_shown(client: Client) -> None:
    (model,) = (await (await client.get("/api/tags")).json())["models"]
    assert (model["name"], model["details"]["format"]) == ("m.gguf", "gguf")
    shown = await post(client, "show")
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
    shown = await post(client, "show")
    assert (shown["capabilities"], shown["template"]) == (words, template)


@pytest.mark.parametrize("think", [True, "low"])
async def test_only_a_template_that_supports_reasoning_can_be_asked_to_think(
    aiohttp_client: AiohttpClient, tmp_path: Path, think: Any
) -> None:
    write_gguf(tmp_path / "thinks.gguf", tokenizer__chat_template="<think>{{ messages }}")
    write_gguf(tmp_path / "m.gguf", tokenizer__chat_template="{{ messages }}")
    client = await aiohttp_client(make_app(tmp_path))
    asked = chat_body("echo: a", think=think)
    assert (await post(client, "chat", model="thinks", **asked))["message"]["content"] == "a"
    for path, body in (("chat", asked), ("generate", {"prompt": "echo: a", "think": think})):
        refused = await post(client, path, 400, **body)
        assert refused["param"] == "think"
        assert "does not support thinking" in refused["error"]
    await post(client, "chat", **(asked | {"think": False}))


async def test_each_model_has_a_digest_of_its_own(client: Client, tmp_path: Path) -> None:
    (tmp_path / "copy.gguf").write_bytes((tmp_path / "m.gguf").read_bytes())

    async def digests() -> dict[str, str]:
        models = (await (await client.get("/api/tags")).json())["models"]
        return {model["name"]: model["digest"] for model in models}

    first = await digests()
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in first.values())
    assert len(set(first.values())) == 2
    assert await digests() == first
    await post(client, "generate")
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
    shown = (await post(client, "show"))["thinking"]
    assert shown == {"values": [False, True, "low", "medium", "high"], "default": True}
    assert "thinking" not in await post(client, "show", model="plain")
    for think in (True, False, "low", "max", "none", "true", 0):
        await post(client, "chat", **chat_body("echo: a", think=think))
    response = await client.post(
        "/api/chat", json=chat_body("echo: a", think="much", model="m", stream=False)
    )
    assert response.status == 200
    assert "'much'" in response.headers["X-Llamabind-Warnings"]


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
    document = await post(client, path, 404, **body, model="gpt-oss:20b")
    assert "gpt-oss:20b" in document["error"]
    for name in ("m", "m.gguf", "short", "short:latest"):
        await post(client, path, **body, model=name)
