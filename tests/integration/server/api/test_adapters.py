"""llama-server's /lora-adapters, over a scripted engine with two adapters."""

from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, make_app

_PATH = "/lora-adapters?model=m.gguf"
_LOAD = {"lora": [{"path": "a.gguf"}, {"path": "b.gguf", "scale": 0.5}]}


async def _client(aiohttp_client: AiohttpClient, folder: Path, **settings: Any) -> Client:
    write_gguf(folder / "m.gguf")
    for name in ("a.gguf", "b.gguf"):
        write_gguf(folder / name, general__type="adapter")
    return await aiohttp_client(make_app(folder, **settings))


async def _load(client: Client) -> None:
    response = await client.post("/api/v2/models/m.gguf/load", json=_LOAD)
    assert response.status == 200, await response.text()


async def test_adapters_are_listed_by_their_place(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path)
    assert await (await client.get(_PATH)).json() == []
    assert (await client.post("/api/v2/models/m.gguf/load")).status == 200
    assert await (await client.get(_PATH)).json() == []
    await _load(client)
    assert await (await client.get(_PATH)).json() == [
        {"id": 0, "path": "a.gguf", "scale": 1.0, "task_name": "task", "prompt_prefix": ""},
        {"id": 1, "path": "b.gguf", "scale": 0.5, "task_name": "task", "prompt_prefix": ""},
    ]


async def test_scales_are_set_and_adapters_without_one_get_0(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path)
    await _load(client)
    answer = await client.post(_PATH, json=[{"id": 1, "scale": 0.25}])
    assert [adapter["scale"] for adapter in await answer.json()] == [0.0, 0.25]
    listed = await (await client.get(_PATH)).json()
    assert [adapter["scale"] for adapter in listed] == [0.0, 0.25]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"id": 0, "scale": 1}, None),
        ([{"id": 0}], "[0].scale"),
        ([{"id": 0, "scale": 1}, {"id": -1, "scale": 1}], "[1].id"),
        ([{"id": 0, "scale": 1e9}], "[0].scale"),
        ([{"id": 0, "scale": 1}, {"id": 0, "scale": 2}], "id"),
        ([{"id": 2, "scale": 1}], "id"),
    ],
)
async def test_a_wrong_body_is_a_400_that_names_the_field(
    aiohttp_client: AiohttpClient, tmp_path: Path, body: Any, param: str | None
) -> None:
    client = await _client(aiohttp_client, tmp_path)
    await _load(client)
    answer = await client.post(_PATH, json=body)
    assert answer.status == 400
    assert (await answer.json())["error"]["param"] == param


async def test_scales_are_changed_by_admins_only(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path, api_keys=("user",), admin_keys=("admin",))
    headers = {"X-Api-Key": "user"}
    assert (await client.post(_PATH, json=[], headers=headers)).status == 403
    assert (await client.get(_PATH, headers=headers)).status == 200
