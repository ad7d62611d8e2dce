"""llama-server's /models: lists, loads, unloads, events; and the id of a served file."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from pytest_aiohttp.plugin import AiohttpClient

from server.protocol.load_settings import LoadSettings
from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, make_app

_ADMIN = {"Authorization": "Bearer admin"}


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_gguf(tmp_path / "m.gguf", tokenizer__ggml__model="gpt2")
    write_gguf(tmp_path / "bad.gguf", "FAIL:corrupt_file")
    write_gguf(tmp_path / "slow.gguf", "SLOW")
    return await aiohttp_client(make_app(tmp_path))


async def _post(client: Client, path: str, status: int = 200, **body: Any) -> Any:
    response = await client.post(path, json=body)
    assert response.status == status, await response.text()
    return await response.json()


async def _model(client: Client, model_id: str) -> Any:
    return await (await client.get(f"/v1/models/{model_id}")).json()


async def _next(response: ClientResponse) -> Any:
    """The data of the next event."""
    while True:
        line = await asyncio.wait_for(response.content.readline(), 10)
        if line.startswith(b"data: "):
            return json.loads(line.removeprefix(b"data: "))


async def _until(response: ClientResponse, status: str) -> Any:
    """The first event with this status."""
    while True:
        event = await _next(response)
        if event["data"]["status"] == status:
            return event


async def test_load_and_unload_are_reported_as_events(client: Client) -> None:
    async with client.get("/models/sse") as events:
        assert await _post(client, "/models/load", model="m.gguf") == {"success": True}
        loading = {"model": "m.gguf", "event": "model_status", "data": {"status": "loading"}}
        assert await _next(events) == loading
        loaded = await _until(events, "loaded")
        assert loaded["event"] == "status_change"
        assert loaded["data"]["info"] == await _model(client, "m.gguf")
        assert await _post(client, "/models/unload", model="m.gguf") == {"success": True}
        unloaded = await _until(events, "unloaded")
        assert unloaded["data"] == {"status": "unloaded", "exit_code": 0}


async def test_progress_has_llama_servers_form(client: Client) -> None:
    async with client.get("/models/sse") as events:
        await _post(client, "/models/load", model="slow.gguf")
        event = await _next(events)
        while "progress" not in event["data"]:
            event = await _next(events)
        stage = {"stages": ["text_model"], "current": "text_model", "value": 0.5}
        assert event["data"] == {"status": "loading", "progress": stage}
        # /models/load returned before the load ended; unload cancels it.
        assert (await _model(client, "slow.gguf"))["status"]["value"] == "loading"
        await _post(client, "/models/unload", model="slow.gguf")
        assert (await _until(events, "unloaded"))["data"]["exit_code"] == 0


async def test_a_load_that_fails_has_an_exit_code_and_a_reason(client: Client) -> None:
    async with client.get("/models/sse") as events:
        await _post(client, "/models/load", model="bad.gguf")
        assert (await _until(events, "unloaded"))["data"]["exit_code"] == 1
    status = (await _model(client, "bad.gguf"))["status"]
    failed = {"value": "unloaded", "state": "failed", "failed": True, "reason": "corrupt_file"}
    assert status == failed


async def test_a_loaded_model_lists_its_context_and_cannot_be_loaded_twice(client: Client) -> None:
    await _post(client, "/v1/chat/completions", model="m.gguf", **chat_body("echo: a"))
    model = await _model(client, "m.gguf")
    assert model["status"] == {"value": "loaded", "state": "loaded"}
    assert (model["meta"]["n_ctx"], model["meta"]["n_ctx_train"]) == (64, 2048)
    assert model["meta"]["vocab_type"] == 2
    assert model["architecture"]["input_modalities"] == ["text"]
    document = await _post(client, "/models/load", 400, model="m.gguf")
    assert document["error"]["message"] == "model is already running"


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/models/load", {}, 400, "model"),
        ("/models/load", {"model": 5}, 400, "model"),
        ("/models/load", {"model": "nothing"}, 404, "model_id"),
        ("/models/unload", {"model": "m.gguf"}, 400, "model"),
        ("/models/unload", {"model": "nothing"}, 404, "model_id"),
    ],
)
async def test_invalid_loads_and_unloads_are_refused(
    client: Client, path: str, body: dict[str, Any], status: int, param: str
) -> None:
    document = await _post(client, path, status, **body)
    assert document["error"]["param"] == param


async def test_only_admins_may_load_unload_and_read_events(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path, api_keys=("user",), admin_keys=("admin",)))
    user = {"Authorization": "Bearer user"}
    body = {"model": "m.gguf"}
    for path in ("/models/load", "/models/unload"):
        assert (await client.post(path, json=body, headers=user)).status == 403
    assert (await client.get("/models/sse", headers=user)).status == 403
    assert (await client.get("/models", headers=user)).status == 200
    assert (await client.post("/models/load", json=body, headers=_ADMIN)).status == 200


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ({"clip__has_vision_encoder": True}, ["text", "image"]),
        ({"clip__has_vision_encoder": False, "clip__has_audio_encoder": True}, ["text", "audio"]),
        (None, ["text"]),
    ],
)
async def test_an_unloaded_model_lists_the_modalities_of_the_projector_in_its_settings(
    aiohttp_client: AiohttpClient,
    tmp_path: Path,
    kinds: dict[str, bool] | None,
    expected: list[str],
) -> None:
    write_gguf(tmp_path / "m.gguf")
    if kinds is not None:
        write_gguf(tmp_path / "mmproj-m.gguf", "", **kinds)
    settings = LoadSettings(mmproj="mmproj-m.gguf")
    client = await aiohttp_client(make_app(tmp_path, default_settings=settings))
    model = await _model(client, "m.gguf")
    assert model["architecture"]["input_modalities"] == expected
    assert ("multimodal" in model["capabilities"]) == (len(expected) > 1)
    [listed] = (await (await client.get("/v1/models")).json())["data"]
    assert listed["architecture"] == model["architecture"]
    shown = await _post(client, "/api/show", model="m.gguf")
    assert shown["capabilities"] == model["capabilities"]


async def test_a_projector_that_no_settings_name_is_not_used(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    write_gguf(tmp_path / "mmproj-m.gguf", clip__has_vision_encoder=True)
    client = await aiohttp_client(make_app(tmp_path))
    model = await _model(client, "m.gguf")
    assert model["architecture"]["input_modalities"] == ["text"]


async def test_a_served_file_is_listed_by_its_first_alias(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    file = write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path, model_file=file, aliases=("gpt-x", "gpt-y")))
    models = (await (await client.get("/v1/models")).json())["data"]
    assert [(model["id"], model["aliases"]) for model in models] == [("gpt-x", ["m.gguf", "gpt-y"])]
    assert (await _model(client, "gpt-y"))["id"] == "gpt-x"
    tags = await (await client.get("/api/tags")).json()
    assert [model["name"] for model in tags["models"]] == ["gpt-x"]
    answer = await _post(client, "/v1/chat/completions", **chat_body("echo: a"))
    assert answer["model"] == "gpt-x"
