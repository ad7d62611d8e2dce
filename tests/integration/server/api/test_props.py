"""llama-server's /props and /slots, over a scripted engine."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.http.app_keys import REGISTRY
from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, make_app


async def _client(aiohttp_client: AiohttpClient, folder: Path, **settings: Any) -> Client:
    write_gguf(folder / "m.gguf", tokenizer__chat_template="{{ messages }}")
    return await aiohttp_client(make_app(folder, **settings))


async def _get(client: Client, path: str, status: int = 200) -> Any:
    response = await client.get(path)
    assert response.status == status, await response.text()
    return await response.json()


async def _load(client: Client) -> None:
    assert (await client.post("/api/v2/models/m.gguf/load")).status == 200


async def test_props_of_a_model_are_reported_without_a_load(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path)
    props = await _get(client, "/props?model=m.gguf")
    assert props["chat_template"] == "{{ messages }}"
    assert (props["is_sleeping"], props["total_slots"]) == (True, None)
    assert (props["bos_token"], props["chat_template_caps"]) == (None, None)
    assert props["default_generation_settings"]["n_ctx"] == 2048
    assert props["default_generation_settings"]["params"]["temperature"] == 0.8
    assert (await _get(client, "/v1/models/m.gguf"))["status"]["value"] == "unloaded"


async def test_props_of_a_loaded_model_have_its_slots_and_tokens(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path)
    await _load(client)
    props = await _get(client, "/props?model=m.gguf")
    assert (props["total_slots"], props["default_generation_settings"]["n_ctx"]) == (4, 64)
    assert (props["bos_token"], props["eos_token"], props["build_info"]) == (
        "<s>",
        "</s>",
        "b1-fake",
    )
    assert props["chat_template_caps"] == {"supports_tools": True}
    assert props["modalities"] == {"vision": False, "video": False, "audio": False}
    assert str(tmp_path) not in str(props)


async def test_props_without_a_model_are_the_servers_or_the_only_files(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    many = await _client(aiohttp_client, tmp_path, models_max=3)
    assert (await _get(many, "/props"))["role"] == "router"
    assert (await _get(many, "/props"))["max_instances"] == 3
    one = await _client(aiohttp_client, tmp_path, model_file=tmp_path / "m.gguf", aliases=("gpt",))
    props = await _get(one, "/props")
    assert (props["model_alias"], props["model_path"]) == ("gpt", "m.gguf")


async def test_props_can_be_posted_only_where_that_is_switched_on_and_by_admins(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    off = await _client(aiohttp_client, tmp_path)
    assert (await off.post("/props", json={})).status == 501
    on = await _client(
        aiohttp_client, tmp_path, props=True, api_keys=("user",), admin_keys=("admin",)
    )
    for key, status in (("user", 403), ("admin", 200)):
        headers = {"X-Api-Key": key}
        assert (await on.post("/props", json={}, headers=headers)).status == status


async def test_slots_show_running_requests_and_retained_prefixes(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path)
    body = chat_body("forever", model="m.gguf", stream=True)
    async with client.post("/v1/chat/completions", json=body) as stream:
        await stream.content.readline()
        busy, kept = await _get(client, "/slots?model=m.gguf")
        assert busy == {
            "id": 0,
            "n_ctx": 64,
            "speculative": False,
            "is_processing": True,
            "n_prompt_tokens": 8,
            "id_task": 0,
            "n_prompt_tokens_processed": 3,
            "n_prompt_tokens_cache": 2,
            "params": {"temperature": 0.5},
            "next_token": [{"has_next_token": True, "n_remain": 7, "n_decoded": 3}],
        }
        assert (kept["is_processing"], kept["n_prompt_tokens"]) == (False, 20)
        # One of four slots is taken.
        await _get(client, "/slots?model=m.gguf&fail_on_no_slot=1")


@pytest.mark.parametrize(
    ("path", "status", "param"),
    [
        ("/slots", 400, "model"),
        ("/slots?model=nothing", 404, "model_id"),
        ("/slots?model=m.gguf", 409, None),
        ("/props?model=nothing", 404, "model_id"),
    ],
)
async def test_slots_of_no_loaded_model_are_refused(
    aiohttp_client: AiohttpClient, tmp_path: Path, path: str, status: int, param: str | None
) -> None:
    client = await _client(aiohttp_client, tmp_path)
    assert (await _get(client, path, status))["error"]["param"] == param


async def test_slots_can_be_switched_off(aiohttp_client: AiohttpClient, tmp_path: Path) -> None:
    client = await _client(aiohttp_client, tmp_path, slots=False)
    await _load(client)
    document = await _get(client, "/slots?model=m.gguf", 501)
    assert document["error"]["type"] == "not_supported_error"


async def test_reading_slots_does_not_count_as_use_of_the_model(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path, max_queue=0)
    await _load(client)
    entry = next(iter(client.app[REGISTRY].entries))
    last_used = entry.leases.last_used
    body = chat_body("forever", model="m.gguf", stream=True)
    streams = [await client.post("/v1/chat/completions", json=body) for _ in range(4)]
    # All slots are taken and the queue is full: /props must answer then, too.
    assert len(await _get(client, "/slots?model=m.gguf")) == 2
    for stream in streams:
        stream.close()
    await asyncio.wait_for(entry.leases.wait_idle(), 10)
    before = entry.leases.last_used
    assert before > last_used
    await _get(client, "/slots?model=m.gguf")
    assert entry.leases.last_used == before
