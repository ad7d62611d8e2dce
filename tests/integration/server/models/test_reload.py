"""Reloads of a model with other settings, and the requests that wait for them."""

import asyncio
from pathlib import Path

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.http.app_keys import REGISTRY
from tests.support.fake_worker import BUGGY_N_CTX
from tests.support.gguf_files import write_gguf
from tests.support.prometheus_text import scrape
from tests.support.server_app import Client, chat_body, make_app, pause
from tests.support.stopped_process import stopped
from tests.support.v2_requests import (
    get,
    post,
    state,
    until_health,
    until_in_progress,
    until_state,
)


async def _until_running(client: Client) -> None:
    async with asyncio.timeout(20):
        while (await get(client, "models/m.gguf"))["engine"]["running"] != 1:
            await pause()


async def _until_received(client: Client, n: int) -> None:
    async with asyncio.timeout(20):
        while (await scrape(client)).value("llamabind_requests_received_total") != n:
            await pause()


async def test_a_failed_reload_restores_the_model_with_its_previous_settings(
    client: Client,
) -> None:
    await post(client, "models/m.gguf/load", {"n_ctx": 48, "pinned": True})
    answer = await post(client, "models/m.gguf/load", {"n_ctx": BUGGY_N_CTX}, status=500)
    assert answer["error"]["restoring"] is True
    assert answer["error"]["message"].endswith(
        "it is being loaded again with its previous settings"
    )
    # The model is loaded again without a further request.
    await until_state(client, "m.gguf", "loaded")
    document = await get(client, "models/m.gguf")
    assert document["settings"]["requested"] == {"n_ctx": 48, "pinned": True}


async def test_a_failed_first_load_restores_nothing(client: Client) -> None:
    answer = await post(client, "models/m.gguf/load", {"n_ctx": BUGGY_N_CTX}, status=500)
    assert "restoring" not in answer["error"]
    assert await state(client, "m.gguf") == "failed"


@pytest.mark.parametrize("autoload", [True, False])
async def test_chats_that_wait_for_a_failed_reload_are_answered(
    aiohttp_client: AiohttpClient, tmp_path: Path, autoload: bool
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path, models_autoload=autoload))
    await post(client, "models/m.gguf/load", {"n_ctx": 48})
    stream = await client.post("/api/v2/chat/m.gguf/stream", json=chat_body("forever"))
    await _until_running(client)
    load = client.post("/api/v2/models/m.gguf/load", json={"n_ctx": BUGGY_N_CTX})
    reload = asyncio.ensure_future(load)
    await until_state(client, "m.gguf", "draining")
    bodies = [chat_body(f"echo: {n}") for n in range(3)]
    chats = [asyncio.ensure_future(post(client, "chat/m.gguf", body)) for body in bodies]
    await _until_received(client, 1 + len(chats))
    stream.close()
    answers = await asyncio.gather(*chats)
    assert [answer["choices"][0]["message"]["content"] for answer in answers] == list("012")
    assert (await reload).status == 500


async def test_an_unload_during_a_reload_cancels_the_reload_and_its_waiters(client: Client) -> None:
    assert client.app is not None
    await post(client, "models/m.gguf/load", {"n_ctx": 48})
    with stopped((await get(client, "models/m.gguf"))["engine"]["pid"]):
        body = chat_body("forever", max_tokens=3)
        running = asyncio.ensure_future(post(client, "chat/m.gguf", body))
        await until_in_progress(client, 1)
        load = post(client, "models/m.gguf/load", {"n_ctx": 64}, status=503)
        reload = asyncio.ensure_future(load)
        await until_health(client, "m.gguf", "draining")
        chat = post(client, "chat/m.gguf", chat_body("echo: x"), status=503)
        waiting = asyncio.ensure_future(chat)
        await until_in_progress(client, 2)
        unload = asyncio.ensure_future(post(client, "models/m.gguf/unload"))
        async with asyncio.timeout(20):
            while not client.app[REGISTRY].find_known("m.gguf").n_unload_requests:
                await pause()
    await unload
    assert (await reload)["error"]["code"] == "load_cancelled"
    assert (await waiting)["error"]["code"] == "load_cancelled"
    assert (await running)["choices"][0]["finish_reason"] == "length"
    assert await state(client, "m.gguf") == "unloaded"
