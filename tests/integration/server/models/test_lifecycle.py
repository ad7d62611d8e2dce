"""States of a model over HTTP: crashes, shutdown, unloading by a client and when idle."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.http.app_keys import REGISTRY
from tests.support.gguf_files import write_gguf
from tests.support.model_events import read_until, to_end
from tests.support.prometheus_text import scrape
from tests.support.server_app import Client, chat_body, make_app, pause
from tests.support.v2_requests import get, until_state


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_gguf(tmp_path / "m.gguf")
    write_gguf(tmp_path / "slow.gguf", "SLOW")
    write_gguf(tmp_path / "die.gguf", "DIE")
    return await aiohttp_client(make_app(tmp_path))


async def test_a_chat_right_after_an_idle_worker_was_killed_succeeds(client: Client) -> None:
    for _ in range(2):
        await client.post("/api/v2/models/m.gguf/load")
        os.kill((await get(client, "models/m.gguf"))["engine"]["pid"], signal.SIGKILL)
        answer = await client.post("/api/v2/chat/m.gguf", json=chat_body("echo: fine"))
        assert answer.status == 200, await answer.text()
        assert (await answer.json())["choices"][0]["message"]["content"] == "fine"
    seen = await scrape(client)
    assert seen.value("llamabind_requests_received_total", model="m.gguf") == 2
    assert seen.value("llamabind_requests_total", model="m.gguf", outcome="stop") == 2


async def test_a_request_that_crashes_two_workers_is_counted_once(client: Client) -> None:
    body = {"model": "m.gguf", "content": "die"}
    answer = await client.post("/tokenize", json=body)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    seen = await scrape(client)
    assert seen.value("llamabind_requests_received_total", model="m.gguf") == 1
    assert seen.value("llamabind_requests_total", model="m.gguf", outcome="error") == 1
    assert seen.value("llamabind_request_seconds_count", model="m.gguf") == 0


@pytest.mark.parametrize("path", ["chat/slow.gguf", "chat/slow.gguf/stream"])
async def test_a_request_that_waits_for_a_load_at_shutdown_gets_a_retry_after(
    client: Client, path: str
) -> None:
    assert client.app is not None
    chat = asyncio.ensure_future(client.post(f"/api/v2/{path}", json=chat_body("hi")))
    async with asyncio.timeout(60):
        while (await get(client, "models/slow.gguf"))["status"] != "loading":
            await pause()
    await client.app[REGISTRY].close()
    answer = await chat
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "shutting down" in (await answer.json())["error"]["message"]


async def test_explicit_loads_of_a_model_that_crashes_are_not_a_crash_loop(client: Client) -> None:
    for _ in range(5):
        response = await client.post("/api/v2/models/die.gguf/load")
        assert response.status == 503
    assert (await get(client, "models/die.gguf"))["failure"]["reason"] == "crashed"


@pytest.mark.parametrize("how", ["query", "body"])
async def test_a_forced_unload_cuts_off_running_answers_at_once(client: Client, how: str) -> None:
    response = await client.post("/api/v2/chat/m.gguf/stream", json=chat_body("forever"))
    assert response.status == 200
    gentle = asyncio.ensure_future(client.post("/api/v2/models/m.gguf/unload"))
    await until_state(client, "m.gguf", "draining")
    params, body = ({"force": "true"}, None) if how == "query" else ({}, {"force": True})
    url = "/api/v2/models/m.gguf/unload"
    assert (await client.post(url, params=params, json=body)).status == 200
    assert (await gentle).status == 200
    *_, last = [event async for event in to_end(response)]
    assert last["error"]["code"] == "model_unloaded"


async def test_unloading_a_model_that_is_not_loaded_is_a_409(client: Client) -> None:
    response = await client.post("/api/v2/models/m.gguf/unload")
    assert response.status == 409
    assert (await response.json())["error"]["code"] == "model_not_loaded"


async def test_a_model_with_ttl_0_is_unloaded_after_each_answer(client: Client) -> None:
    watching = await client.get("/api/v2/events")
    await client.post("/api/v2/models/m.gguf/load", json={"ttl": 0})
    seen = await read_until(watching, type="state", status="unloaded")
    assert seen[-1]["reason"] == "idle"
    answer = await client.post("/api/v2/chat/m.gguf", json=chat_body("echo: a b c d"))
    assert (await answer.json())["choices"][0]["message"]["content"] == "a b c d"
    seen = await read_until(watching, type="state", status="unloaded")
    assert seen[-1]["reason"] == "idle"


async def test_a_changed_ttl_needs_no_reload(client: Client) -> None:
    await client.post("/api/v2/models/m.gguf/load", json={"pinned": True})
    pid = (await get(client, "models/m.gguf"))["engine"]["pid"]
    await client.post("/api/v2/models/m.gguf/load", json={"ttl": 3600})
    document = await get(client, "models/m.gguf")
    assert document["engine"]["pid"] == pid
    assert document["settings"]["requested"] == {"ttl": 3600}


async def test_without_autoload_a_chat_with_an_unloaded_model_is_a_409(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path, models_autoload=False))
    response = await client.post("/api/v2/chat/m.gguf", json=chat_body("echo: x"))
    assert response.status == 409
    assert (await response.json())["error"]["code"] == "model_not_loaded"
    response = await client.post("/v1/models?autoload=perhaps", json={})
    assert (await response.json())["error"]["param"] == "autoload"
    # A request may ask for the load itself, as in llama-server's router.
    loading = "/api/v2/chat/m.gguf?autoload=true"
    assert (await client.post(loading, json=chat_body("echo: x"))).status == 200
    os.kill((await get(client, "models/m.gguf"))["engine"]["pid"], signal.SIGKILL)
    response = await client.post("/api/v2/chat/m.gguf", json=chat_body("echo: x"))
    assert response.status == 200


async def test_a_crash_loop_is_an_error_until_an_explicit_load(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.models.crash_guard._FIRST_DELAY_SECONDS", 0.0)
    for _ in range(5):
        async with client.post("/api/v2/chat/m.gguf/stream", json=chat_body("die")) as answer:
            assert "worker_crashed" in await answer.text()
    refused = await client.post("/api/v2/chat/m.gguf", json=chat_body("echo: a"))
    error = (await refused.json())["error"]
    assert (refused.status, error["code"], error["reason"]) == (503, "crash_loop", "crash_loop")
    assert int(refused.headers["Retry-After"]) > 0
    assert "crashed 5 times" in error["message"]
    assert (await get(client, "models/m.gguf"))["failure"]["reason"] == "crash_loop"
    health = await (await client.get("/health")).json()
    assert health["models"]["m.gguf"] == {"status": "failed", "reason": "crash_loop"}
    assert "crash_loop" in (await (await client.get("/api/v2/health")).json())["last_error"]
    assert (await client.post("/api/v2/models/m.gguf/load")).status == 200
    assert (await client.post("/api/v2/chat/m.gguf", json=chat_body("echo: a"))).status == 200


async def test_after_an_unsupported_cpu_only_an_explicit_load_restarts(client: Client) -> None:
    await client.post("/api/v2/models/m.gguf/load")
    watching = await client.get("/api/v2/events")
    os.kill((await get(client, "models/m.gguf"))["engine"]["pid"], signal.SIGILL)
    crash = (await read_until(watching, type="crash"))[-1]
    assert "was killed by SIGILL" in crash["detail"]
    await read_until(watching, type="state", status="failed", reason="unsupported_cpu")
    metrics = await (await client.get("/metrics")).text()
    assert 'llamabind_worker_crashes_total{model="m.gguf"} 1.0' in metrics
    for _ in range(2):
        refused = await client.post("/api/v2/chat/m.gguf", json=chat_body("echo: a"))
        error = (await refused.json())["error"]
        assert (refused.status, error["code"]) == (501, "unsupported_cpu")
        assert "that this CPU lacks; build llamabind on this machine" in error["message"]
    assert (await get(client, "models/m.gguf"))["failure"]["reason"] == "unsupported_cpu"
    assert "unsupported_cpu" in (await (await client.get("/api/v2/health")).json())["last_error"]
    assert (await client.post("/api/v2/models/m.gguf/load")).status == 200
    assert (await client.post("/api/v2/chat/m.gguf", json=chat_body("echo: a"))).status == 200


@pytest.mark.parametrize("is_followed", [True, False])
async def test_links_out_of_the_folder_are_models_only_with_follow_links(
    aiohttp_client: AiohttpClient, tmp_path: Path, is_followed: bool
) -> None:
    outside = write_gguf(tmp_path / "elsewhere" / "real.gguf")
    models = tmp_path / "models"
    models.mkdir()
    (models / "link.gguf").symlink_to(outside)
    client = await aiohttp_client(make_app(models, follow_links=is_followed))
    listed = await (await client.get("/api/v2/models")).json()
    assert [model["id"] for model in listed["available_models"]] == ["link.gguf"] * is_followed
    chat = await client.post("/api/v2/chat/link.gguf", json=chat_body("echo: a"))
    assert chat.status == (200 if is_followed else 404)


async def test_a_replaced_file_clears_the_failure_of_its_model(
    client: Client, tmp_path: Path
) -> None:
    await client.post("/api/v2/models/die.gguf/load")
    assert (await get(client, "models/die.gguf"))["status"] == "failed"
    write_gguf(tmp_path / "die.gguf", "no crash any more")
    document = await get(client, "models/die.gguf")
    assert document["status"] == "unloaded"
    assert "failure" not in document
    (tmp_path / "die.gguf").write_bytes(b"no model")
    assert (await get(client, "models/die.gguf"))["status"] == "broken"
