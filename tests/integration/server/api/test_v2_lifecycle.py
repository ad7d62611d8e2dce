"""Loads, unloads, crashes and clients that leave, over /api/v2 and a scripted engine."""

import asyncio
import os
import re
import signal
from pathlib import Path

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.fake_worker import BUGGY_N_CTX
from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, events, make_app, pause
from tests.support.stopped_process import stopped
from tests.support.v2_requests import (
    get,
    post,
    state,
    until_health,
    until_in_progress,
    until_state,
    write_models,
)


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_models(tmp_path)
    return await aiohttp_client(make_app(tmp_path))


async def test_a_template_that_refuses_is_a_400(client: Client) -> None:
    answer = await post(client, "chat/m.gguf", chat_body("refuse"), status=400)
    assert answer["error"]["message"] == "roles must alternate"


async def test_a_bug_in_the_worker_is_a_500_without_a_trace(client: Client) -> None:
    answer = await post(client, "chat/m.gguf", chat_body("bug"), status=500)
    assert "Traceback" not in answer["error"]["message"]


@pytest.mark.parametrize(
    ("model_id", "status", "reason"),
    [
        ("oom.gguf", 507, "out_of_memory"),
        ("new.gguf", 400, "unsupported_architecture"),
        ("bad.gguf", 400, "corrupt_file"),
        ("die.gguf", 503, "crashed"),
    ],
)
async def test_a_model_that_cannot_be_loaded_says_why(
    client: Client, model_id: str, status: int, reason: str
) -> None:
    for path, body in ((f"models/{model_id}/load", None), (f"chat/{model_id}", chat_body("x"))):
        answer = await post(client, path, body, status=status)
        assert answer["error"]["reason"] == reason
    document = await get(client, f"models/{model_id}")
    assert document["status"] in ("failed", "broken")
    assert document["failure"]["reason"] == reason


async def test_a_killed_worker_is_an_error_event_and_the_next_chat_works(client: Client) -> None:
    response = await client.post("/api/v2/chat/m.gguf/stream", json=chat_body("forever"))
    assert response.status == 200
    first = await response.content.readuntil(b"\n\n")
    os.kill((await get(client, "models/m.gguf"))["engine"]["pid"], signal.SIGKILL)
    *_, last = await events(response)
    assert b'"role":"assistant"' in first
    assert last["error"]["code"] == "worker_crashed"
    assert "SIGKILL" in last["error"]["message"]
    health = await get(client, "health")
    assert health["status"] == "healthy"
    assert "SIGKILL" in health["last_error"]
    assert await state(client, "m.gguf") == "failed"
    answer = await post(client, "chat/m.gguf", chat_body("echo: back again"))
    assert answer["choices"][0]["message"]["content"] == "back again"


async def test_a_killed_worker_fails_a_plain_chat_with_503(client: Client) -> None:
    answer = await post(client, "chat/m.gguf", chat_body("die"), status=503)
    assert answer["error"]["code"] == "worker_crashed"


async def test_an_engine_failure_is_remembered(client: Client) -> None:
    answer = await post(client, "chat/m.gguf", chat_body("break"), status=503)
    assert "scripted failure" in answer["error"]["message"]
    assert (await get(client, "health"))["last_error"] is not None


async def test_a_client_that_disconnects_frees_the_sequence(client: Client) -> None:
    for path in ("chat/m.gguf", "chat/m.gguf/stream"):
        await post(client, "models/m.gguf/load", {})
        task = asyncio.ensure_future(_read_first(client, path))
        async with asyncio.timeout(20):
            while (await get(client, "models/m.gguf"))["engine"]["running"] != 1:
                await pause()
        task.cancel()
        async with asyncio.timeout(20):
            while (await get(client, "models/m.gguf"))["engine"]["running"] != 0:
                await pause()


async def _read_first(client: Client, path: str) -> None:
    async with client.post(f"/api/v2/{path}", json=chat_body("forever")) as response:
        await response.read()


async def test_loads_at_the_same_time_are_one_load(client: Client) -> None:
    bodies = [post(client, "models/m.gguf/load", {"n_ctx": 64}) for _ in range(5)]
    chats = [post(client, "chat/m.gguf", chat_body(f"echo: {n}")) for n in range(5)]
    loads = await asyncio.gather(*bodies)
    assert len({load["load_time"] for load in loads}) == 1
    assert [
        answer["choices"][0]["message"]["content"] for answer in await asyncio.gather(*chats)
    ] == [str(n) for n in range(5)]


async def test_other_settings_load_the_model_again(client: Client) -> None:
    await post(client, "models/m.gguf/load", {"n_ctx": 64})
    first = (await get(client, "models/m.gguf"))["engine"]["pid"]
    await post(client, "models/m.gguf/load", {"n_ctx": 64})
    assert (await get(client, "models/m.gguf"))["engine"]["pid"] == first
    await post(client, "models/m.gguf/load", {"n_ctx": 32})
    assert (await get(client, "models/m.gguf"))["engine"]["pid"] != first


async def test_a_chat_after_an_unload_loads_with_the_last_settings(client: Client) -> None:
    await post(client, "models/m.gguf/load", {"n_ctx": 48})
    await post(client, "models/m.gguf/unload")
    await post(client, "chat/m.gguf", chat_body("echo: x"))
    assert (await get(client, "models/m.gguf"))["settings"]["requested"] == {"n_ctx": 48}


async def test_settings_that_failed_are_not_those_of_the_next_chat(client: Client) -> None:
    await post(client, "models/m.gguf/load", {"n_ctx": 48})
    answer = await post(client, "models/m.gguf/load", {"n_ctx": BUGGY_N_CTX}, status=500)
    assert answer["error"]["reason"] == "unknown"
    await post(client, "chat/m.gguf", chat_body("echo: x"))
    assert (await get(client, "models/m.gguf"))["settings"]["requested"] == {"n_ctx": 48}


async def test_unload_cancels_a_load_and_waiting_requests_get_an_error(client: Client) -> None:
    waiting = asyncio.ensure_future(post(client, "models/slow.gguf/load", {}, status=503))
    await until_state(client, "slow.gguf", "loading")
    await post(client, "models/slow.gguf/unload")
    assert (await waiting)["error"]["code"] == "load_cancelled"
    assert await state(client, "slow.gguf") == "unloaded"


async def test_a_client_that_disconnects_does_not_stop_a_load(client: Client) -> None:
    waiting = asyncio.ensure_future(post(client, "models/slow.gguf/load", {}))
    await until_state(client, "slow.gguf", "loading")
    waiting.cancel()
    await asyncio.wait({waiting})
    assert await state(client, "slow.gguf") == "loading"


async def test_unload_lets_running_answers_finish(client: Client) -> None:
    await post(client, "models/m.gguf/load", {})
    with stopped((await get(client, "models/m.gguf"))["engine"]["pid"]):
        body = chat_body("forever", max_tokens=3)
        answer = asyncio.ensure_future(post(client, "chat/m.gguf", body))
        await until_in_progress(client, 1)
        unloading = asyncio.ensure_future(post(client, "models/m.gguf/unload"))
        await until_health(client, "m.gguf", "draining")
        refused = await client.post("/api/v2/chat/m.gguf", json=chat_body("echo: x"))
        assert refused.status == 503
        assert refused.headers["Retry-After"]
    assert (await answer)["choices"][0]["finish_reason"] == "length"
    await unloading


async def test_unload_cuts_answers_that_do_not_end(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path, drain_seconds=0.1))
    response = await client.post("/api/v2/chat/m.gguf/stream", json=chat_body("forever"))
    await post(client, "models/m.gguf/unload")
    assert (await events(response))[-1]["error"]["code"] == "model_unloaded"
    assert (await get(client, "health"))["last_error"] is None


async def test_a_stream_that_waits_long_pings_and_then_errs_as_an_event(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "slow.gguf", "SLOW")
    app = make_app(tmp_path, header_hold_seconds=0.05, ping_seconds=0.05)
    client = await aiohttp_client(app)
    response = await client.post("/api/v2/chat/slow.gguf/stream", json=chat_body("x"))
    assert response.status == 200
    assert await response.content.readuntil(b"\n\n") == b":\n\n"
    assert await response.content.readuntil(b"\n\n") == b":\n\n"
    await post(client, "models/slow.gguf/unload")
    assert (await events(response))[-1]["error"]["code"] == "load_cancelled"


async def test_closing_the_application_leaves_no_worker(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path))
    await post(client, "models/m.gguf/load", {})
    pid = (await get(client, "models/m.gguf"))["engine"]["pid"]
    await client.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


async def test_a_sane_request_id_is_returned_and_another_replaced(client: Client) -> None:
    good = await client.get("/api/v2/health", headers={"X-Request-Id": "abc-123"})
    assert good.headers["X-Request-Id"] == "abc-123"
    bad = await client.get("/api/v2/health", headers={"X-Request-Id": "a b" * 100})
    assert re.fullmatch(r"[0-9a-f]{32}", bad.headers["X-Request-Id"])
