"""Models that do not fit into memory together, over HTTP."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, make_app, pause


async def _client(aiohttp_client: AiohttpClient, folder: Path, **settings: Any) -> Client:
    for name in ("a", "b", "c"):
        write_gguf(folder / f"{name}.gguf")
    return await aiohttp_client(make_app(folder, **settings))


async def _states(client: Client) -> dict[str, str]:
    listed = await (await client.get("/api/v2/models")).json()
    return {model["id"]: model["status"] for model in listed["available_models"]}


async def test_the_least_recently_used_model_is_evicted(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path, models_max=2)
    for name in ("a", "b", "a", "c"):
        response = await client.post(f"/api/v2/chat/{name}.gguf", json=chat_body("echo: x"))
        assert response.status == 200
    assert await _states(client) == {"a.gguf": "loaded", "b.gguf": "unloaded", "c.gguf": "loaded"}


async def test_mapped_weights_of_a_loaded_model_are_not_free(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write_gguf(tmp_path / f"{name}.gguf", "MAPPED")
    client = await aiohttp_client(make_app(tmp_path))
    await client.post("/api/v2/models/a.gguf/load")
    # Its own weights are free for its next load, but counted once.
    assert await _estimate(client, "a") == {"fits": True, "evicts": [], "waits_for": []}
    await client.post("/api/v2/models/b.gguf/load")
    assert await _states(client) == {"a.gguf": "unloaded", "b.gguf": "loaded"}


async def test_requests_for_models_that_do_not_fit_together_all_succeed(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path, models_max=1)

    async def ask(number: int) -> str:
        name = "abc"[number % 3]
        text = f"echo: {name} {number}"
        response = await client.post(f"/api/v2/chat/{name}.gguf", json=chat_body(text))
        assert response.status == 200, await response.text()
        return str((await response.json())["choices"][0]["message"]["content"])

    answers = await asyncio.gather(*(ask(number) for number in range(12)))
    assert answers == [f"{'abc'[number % 3]} {number}" for number in range(12)]


async def test_a_load_waits_for_a_busy_model(aiohttp_client: AiohttpClient, tmp_path: Path) -> None:
    client = await _client(aiohttp_client, tmp_path, models_max=1)
    stream = await client.post("/api/v2/chat/a.gguf/stream", json=chat_body("forever"))
    assert stream.status == 200
    waiting = asyncio.ensure_future(
        client.post("/api/v2/chat/b.gguf", json=chat_body("echo: at last"))
    )
    async with asyncio.timeout(20):
        while (await _states(client))["b.gguf"] != "queued":
            await pause()
    assert (await _states(client))["a.gguf"] == "loaded"
    stream.close()
    response = await waiting
    assert response.status == 200, await response.text()
    assert (await _states(client))["a.gguf"] == "unloaded"


async def test_pinned_models_are_not_evicted_and_a_model_over_the_limit_is_refused(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path, models_max=1)
    await client.post("/api/v2/models/a.gguf/load", json={"pinned": True})
    response = await client.post("/api/v2/models/b.gguf/load")
    assert response.status == 503
    assert (await response.json())["error"]["code"] == "too_many_models"
    assert int(response.headers["Retry-After"]) > 0
    assert (await _states(client))["a.gguf"] == "loaded"


async def test_a_model_larger_than_the_budget_is_a_507_with_the_sizes(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path, memory_budget_mb=1)
    response = await client.post("/api/v2/models/a.gguf/load")
    assert response.status == 507
    error = (await response.json())["error"]
    assert error["reason"] == "out_of_memory"
    (device,) = error["devices"]
    assert device["name"] == "host"
    assert device["needed_bytes"] > device["available_bytes"] == device["free_bytes"] == 1 << 20
    failure = (await (await client.get("/api/v2/models/a.gguf")).json())["failure"]
    assert failure["reason"] == "out_of_memory"


async def _estimate(client: Client, name: str) -> dict[str, Any]:
    response = await client.post(f"/api/v2/models/{name}.gguf/estimate")
    assert response.status == 200, await response.text()
    return {
        key: value
        for key, value in (await response.json()).items()
        if key in ("fits", "evicts", "waits_for")
    }


async def test_an_estimate_lists_the_models_it_would_evict_or_wait_for(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path, models_max=1)
    assert await _estimate(client, "b") == {"fits": True, "evicts": [], "waits_for": []}
    await client.post("/api/v2/models/a.gguf/load")
    assert await _estimate(client, "a") == {"fits": True, "evicts": [], "waits_for": []}
    assert await _estimate(client, "b") == {"fits": True, "evicts": ["a.gguf"], "waits_for": []}
    stream = await client.post("/api/v2/chat/a.gguf/stream", json=chat_body("forever"))
    assert await _estimate(client, "b") == {"fits": True, "evicts": [], "waits_for": ["a.gguf"]}
    stream.close()
    await client.post("/api/v2/models/a.gguf/load", json={"pinned": True})
    assert (await _estimate(client, "b"))["fits"] is False
    assert await _states(client) == dict.fromkeys(("b.gguf", "c.gguf"), "unloaded") | {
        "a.gguf": "loaded"
    }


async def test_an_estimate_applies_the_budget(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path, memory_budget_mb=1)
    document = await (await client.post("/api/v2/models/a.gguf/estimate")).json()
    assert document["fits"] is False
    used = document["memory"][0]["used_bytes"]
    size = {"needed_bytes": used, "free_bytes": 1 << 20, "available_bytes": 1 << 20}
    assert document["devices"] == [{"name": "host"} | size]


@pytest.mark.parametrize("name", ["a", "b"])
async def test_an_eviction_is_published_as_an_event(
    aiohttp_client: AiohttpClient, tmp_path: Path, name: str
) -> None:
    client = await _client(aiohttp_client, tmp_path, models_max=1)
    watching = await client.get("/api/v2/events", params={"model": f"{name}.gguf"})
    await client.post(f"/api/v2/models/{name}.gguf/load")
    await client.post("/api/v2/models/c.gguf/load")
    async with asyncio.timeout(20):
        seen = ""
        while '"status":"unloaded","previous":"draining"' not in seen:
            seen += (await watching.content.readuntil(b"\n\n")).decode()
    assert '"type":"eviction"' in seen
    assert '"for_model":"c.gguf"' in seen
    assert '"reason":"evicted"' in seen


async def test_models_whose_memory_cannot_be_estimated_count_for_models_max(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    for name in "abc":
        write_gguf(tmp_path / f"{name}.gguf", "ESTIMATE BUG")
    client = await aiohttp_client(make_app(tmp_path, models_max=1))
    loads = (client.post(f"/api/v2/models/{name}.gguf/load") for name in "abc")
    assert {response.status for response in await asyncio.gather(*loads)} == {200}
    assert sorted((await _states(client)).values()) == ["loaded", "unloaded", "unloaded"]


async def test_loads_that_wait_for_memory_get_it_in_the_order_in_which_they_came(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path, models_max=1)
    stream = await client.post("/api/v2/chat/a.gguf/stream", json=chat_body("forever"))
    answered: list[str] = []

    async def ask(name: str) -> None:
        response = await client.post(f"/api/v2/chat/{name}.gguf", json=chat_body("echo: x"))
        assert response.status == 200, await response.text()
        answered.append(name)

    asked = []
    # The second would be first in the alphabet.
    for name in ("c", "b"):
        asked.append(asyncio.ensure_future(ask(name)))
        async with asyncio.timeout(20):
            while (await _states(client))[f"{name}.gguf"] != "queued":
                await pause()
    stream.close()
    await asyncio.gather(*asked)
    assert answered == ["c", "b"]
