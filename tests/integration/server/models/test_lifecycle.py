"""States of a model over HTTP: events, streamed loads, cancelling, crashes, idle unloading."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from pytest_aiohttp.plugin import AiohttpClient

from server.http.app_keys import REGISTRY
from server.http.sse import SseWriter
from tests.support.gguf_files import write_gguf
from tests.support.prometheus_text import scrape
from tests.support.server_app import Client, chat_body, make_app, pause


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_gguf(tmp_path / "m.gguf")
    write_gguf(tmp_path / "slow.gguf", "SLOW")
    write_gguf(tmp_path / "die.gguf", "DIE")
    return await aiohttp_client(make_app(tmp_path))


async def _events(response: ClientResponse) -> AsyncIterator[Any]:
    while block := await response.content.readuntil(b"\n\n"):
        if block.startswith(b"data: "):
            yield json.loads(block.removeprefix(b"data: "))


async def _read_until(response: ClientResponse, **wanted: Any) -> list[Any]:
    """Everything up to the first event that has these values."""
    seen = []
    async with asyncio.timeout(20):
        async for event in _events(response):
            seen.append(event)
            if wanted.items() <= event.items():
                return seen
    raise AssertionError(seen)


async def _state(client: Client, model_id: str) -> dict[str, Any]:
    response = await client.get(f"/api/v2/models/{model_id}")
    document: dict[str, Any] = await response.json()
    return document


async def test_events_begin_with_a_snapshot_and_report_every_state(client: Client) -> None:
    watching = await client.get("/api/v2/events")
    assert watching.content_type == "text/event-stream"
    first = await anext(_events(watching))
    assert first["type"] == "snapshot"
    assert {model["model"]: model["status"] for model in first["models"]} == {
        "die.gguf": "unloaded",
        "m.gguf": "unloaded",
        "slow.gguf": "unloaded",
    }
    await client.post("/api/v2/models/m.gguf/load")
    await client.post("/api/v2/models/m.gguf/unload")
    seen = await _read_until(watching, type="state", status="unloaded")
    states = [(event["status"], event["reason"]) for event in seen if event["type"] == "state"]
    assert states == [
        ("queued", None),
        ("loading", None),
        ("loaded", None),
        ("draining", "requested"),
        ("unloaded", "requested"),
    ]
    assert [event["progress"] for event in seen if event["type"] == "progress"] in ([0.5, 1], [1])
    assert next(event for event in seen if event.get("status") == "loaded")["seconds"] > 0
    assert {event["model"] for event in seen} == {"m.gguf"}


async def test_events_of_one_model_report_its_crash(client: Client) -> None:
    watching = await client.get("/api/v2/events", params={"model": "die.gguf"})
    await client.post("/api/v2/models/m.gguf/load")
    await client.post("/api/v2/models/die.gguf/load")
    snapshot, *seen, last = await _read_until(watching, type="state", status="failed")
    assert [model["model"] for model in snapshot["models"]] == ["die.gguf"]
    assert {event["model"] for event in seen} == {"die.gguf"}
    crash = next(event for event in seen if event["type"] == "crash")
    assert "SIGABRT" in crash["detail"]
    assert any("GGML_ASSERT" in line for line in crash["log"])
    assert last["reason"] == "crashed"


async def test_events_of_an_unknown_model_are_a_404(client: Client) -> None:
    response = await client.get("/api/v2/events", params={"model": "none.gguf"})
    assert response.status == 404


async def test_event_streams_end_when_the_server_shuts_down(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(make_app(tmp_path))
    watching = await client.get("/api/v2/events")
    await anext(_events(watching))
    await client.app.shutdown()
    assert await watching.content.read() == b""


@pytest.mark.parametrize("how", ["query", "header"])
async def test_a_streamed_load_ends_with_the_reply_of_a_load(client: Client, how: str) -> None:
    params = {"stream": "true"} if how == "query" else {}
    headers = {"Accept": "text/event-stream"} if how == "header" else {}
    url = "/api/v2/models/m.gguf/load"
    response = await client.post(url, json={"n_ctx": 64}, params=params, headers=headers)
    assert response.content_type == "text/event-stream"
    text = await response.text()
    events = [json.loads(block.removeprefix("data: ")) for block in text.split("\n\n") if block]
    assert [event.get("status") for event in events if event.get("type") != "progress"] == [
        *("queued", "loading", "loaded", "success"),
    ]
    assert events[-1]["message"] == "Model loaded successfully"


async def test_a_streamed_load_that_fails_ends_with_the_error(client: Client) -> None:
    response = await client.post("/api/v2/models/die.gguf/load", params={"stream": "1"})
    assert response.status == 200
    text = await response.text()
    last = json.loads(text.split("\n\n")[-2].removeprefix("data: "))
    assert last["error"]["reason"] == "crashed"


async def test_a_streamed_load_of_a_loaded_model_is_the_reply_at_once(client: Client) -> None:
    await client.post("/api/v2/models/m.gguf/load")
    response = await client.post("/api/v2/models/m.gguf/load", params={"stream": "true"})
    (only,) = (await response.text()).strip().split("\n\n")
    assert json.loads(only.removeprefix("data: "))["status"] == "success"


@pytest.mark.parametrize(
    ("model_id", "params", "body", "status"),
    [
        ("none.gguf", {"stream": "true"}, {}, 404),
        ("m.gguf", {"stream": "perhaps"}, {}, 400),
        ("m.gguf", {"stream": "true"}, {"n_ctx": "x"}, 400),
    ],
)
async def test_an_invalid_streamed_load_is_a_plain_json_error(
    client: Client, model_id: str, params: dict[str, str], body: Any, status: int
) -> None:
    response = await client.post(f"/api/v2/models/{model_id}/load", params=params, json=body)
    assert response.status == status
    assert response.content_type == "application/json"


async def test_disconnecting_from_a_load_does_not_stop_it_and_unload_does(client: Client) -> None:
    url = "/api/v2/models/slow.gguf/load"
    staying = await client.post(url, params={"stream": "true"})
    leaving = await client.post(url, params={"stream": "true"})
    await _read_until(staying, status="loading")
    leaving.close()
    assert (await _state(client, "slow.gguf"))["status"] == "loading"
    response = await client.post("/api/v2/models/slow.gguf/unload")
    assert response.status == 200
    *_, state, last = [event async for event in _to_end(staying)]
    assert (state["status"], state["reason"]) == ("unloaded", "cancelled")
    assert last["error"]["code"] == "load_cancelled"


async def _to_end(response: ClientResponse) -> AsyncIterator[Any]:
    for block in (await response.text()).split("\n\n"):
        if block.startswith("data: "):
            yield json.loads(block.removeprefix("data: "))


async def test_a_chat_right_after_an_idle_worker_was_killed_succeeds(client: Client) -> None:
    for _ in range(2):
        await client.post("/api/v2/models/m.gguf/load")
        os.kill((await _state(client, "m.gguf"))["engine"]["pid"], signal.SIGKILL)
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
        while (await _state(client, "slow.gguf"))["status"] != "loading":
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
    assert (await _state(client, "die.gguf"))["failure"]["reason"] == "crashed"


@pytest.mark.parametrize("how", ["query", "body"])
async def test_a_forced_unload_cuts_off_running_answers_at_once(client: Client, how: str) -> None:
    response = await client.post("/api/v2/chat/m.gguf/stream", json=chat_body("forever"))
    assert response.status == 200
    gentle = asyncio.ensure_future(client.post("/api/v2/models/m.gguf/unload"))
    params, body = ({"force": "true"}, None) if how == "query" else ({}, {"force": True})
    url = "/api/v2/models/m.gguf/unload"
    assert (await client.post(url, params=params, json=body)).status == 200
    assert (await gentle).status == 200
    *_, last = [event async for event in _to_end(response)]
    assert last["error"]["code"] == "model_unloaded"


async def test_unloading_a_model_that_is_not_loaded_is_a_409(client: Client) -> None:
    response = await client.post("/api/v2/models/m.gguf/unload")
    assert response.status == 409
    assert (await response.json())["error"]["code"] == "model_not_loaded"


async def test_a_model_with_ttl_0_is_unloaded_after_each_answer(client: Client) -> None:
    watching = await client.get("/api/v2/events")
    await client.post("/api/v2/models/m.gguf/load", json={"ttl": 0})
    seen = await _read_until(watching, type="state", status="unloaded")
    assert seen[-1]["reason"] == "idle"
    answer = await client.post("/api/v2/chat/m.gguf", json=chat_body("echo: a b c d"))
    assert (await answer.json())["choices"][0]["message"]["content"] == "a b c d"
    seen = await _read_until(watching, type="state", status="unloaded")
    assert seen[-1]["reason"] == "idle"


async def test_a_changed_ttl_needs_no_reload(client: Client) -> None:
    await client.post("/api/v2/models/m.gguf/load", json={"pinned": True})
    pid = (await _state(client, "m.gguf"))["engine"]["pid"]
    await client.post("/api/v2/models/m.gguf/load", json={"ttl": 3600})
    document = await _state(client, "m.gguf")
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
    os.kill((await _state(client, "m.gguf"))["engine"]["pid"], signal.SIGKILL)
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
    assert (await _state(client, "m.gguf"))["failure"]["reason"] == "crash_loop"
    health = await (await client.get("/health")).json()
    assert health["models"]["m.gguf"] == {"status": "failed", "reason": "crash_loop"}
    assert "crash_loop" in (await (await client.get("/api/v2/health")).json())["last_error"]
    assert (await client.post("/api/v2/models/m.gguf/load")).status == 200
    assert (await client.post("/api/v2/chat/m.gguf", json=chat_body("echo: a"))).status == 200


async def test_after_an_unsupported_cpu_only_an_explicit_load_restarts(client: Client) -> None:
    await client.post("/api/v2/models/m.gguf/load")
    watching = await client.get("/api/v2/events")
    os.kill((await _state(client, "m.gguf"))["engine"]["pid"], signal.SIGILL)
    crash = (await _read_until(watching, type="crash"))[-1]
    assert "was killed by SIGILL" in crash["detail"]
    await _read_until(watching, type="state", status="failed", reason="unsupported_cpu")
    metrics = await (await client.get("/metrics")).text()
    assert 'llamabind_worker_crashes_total{model="m.gguf"} 1.0' in metrics
    for _ in range(2):
        refused = await client.post("/api/v2/chat/m.gguf", json=chat_body("echo: a"))
        error = (await refused.json())["error"]
        assert (refused.status, error["code"]) == (501, "unsupported_cpu")
        assert "that this CPU lacks; build llamabind on this machine" in error["message"]
    assert (await _state(client, "m.gguf"))["failure"]["reason"] == "unsupported_cpu"
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


async def test_a_client_that_joins_a_silent_load_gets_sse_comments_until_it_ends(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "slow.gguf", "SLOW")
    client = await aiohttp_client(make_app(tmp_path, header_hold_seconds=0.01, ping_seconds=0.01))
    url = "/api/v2/models/slow.gguf/load"
    first = asyncio.ensure_future(client.post(url))
    async with asyncio.timeout(20):
        while (await _state(client, "slow.gguf")).get("progress") != 0.5:
            await pause()
    async with asyncio.timeout(20):
        joining = await client.post(url, params={"stream": "true"})
        assert await joining.content.readuntil(b"\n\n") == b":\n\n"
        assert await joining.content.readuntil(b"\n\n") == b":\n\n"
    assert (await client.post("/api/v2/models/slow.gguf/unload")).status == 200
    *_, last = [event async for event in _to_end(joining)]
    assert last["error"]["code"] == "load_cancelled"
    assert (await first).status == 503


async def test_a_streamed_load_ends_with_success_even_if_the_model_was_unloaded_meanwhile(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = SseWriter.send

    async def slowly(writer: SseWriter, documents: Iterable[Any]) -> None:
        documents = list(documents)
        if any(getattr(document, "status", None) == "loaded" for document in documents):
            await client.app[REGISTRY].unload("m.gguf")
        await send(writer, documents)

    monkeypatch.setattr(SseWriter, "send", slowly)
    response = await client.post("/api/v2/models/m.gguf/load", params={"stream": "true"})
    *_, last = [event async for event in _to_end(response)]
    assert last["status"] == "success"
    assert (await _state(client, "m.gguf"))["status"] == "unloaded"


@pytest.mark.parametrize("path", ["/api/v2/events", "/models/sse"])
async def test_head_on_an_endless_event_stream_is_a_405(client: Client, path: str) -> None:
    async with asyncio.timeout(20):
        assert (await client.head(path)).status == 405


async def test_a_replaced_file_clears_the_failure_of_its_model(
    client: Client, tmp_path: Path
) -> None:
    await client.post("/api/v2/models/die.gguf/load")
    assert (await _state(client, "die.gguf"))["status"] == "failed"
    write_gguf(tmp_path / "die.gguf", "no crash any more")
    document = await _state(client, "die.gguf")
    assert document["status"] == "unloaded"
    assert "failure" not in document
    (tmp_path / "die.gguf").write_bytes(b"no model")
    assert (await _state(client, "die.gguf"))["status"] == "broken"
