"""Events of models, and loads that stream their progress."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.http.app_keys import REGISTRY
from server.http.event_streams import PER_CALLER
from server.http.sse import SseWriter
from tests.support.gguf_files import write_gguf
from tests.support.model_events import read_events, read_until, to_end
from tests.support.server_app import Client, make_app, pause
from tests.support.v2_requests import get


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_gguf(tmp_path / "m.gguf")
    write_gguf(tmp_path / "slow.gguf", "SLOW")
    write_gguf(tmp_path / "die.gguf", "DIE")
    return await aiohttp_client(make_app(tmp_path))


async def test_events_begin_with_a_snapshot_and_report_every_state(client: Client) -> None:
    watching = await client.get("/api/v2/events")
    assert watching.content_type == "text/event-stream"
    first = await anext(read_events(watching))
    assert first["type"] == "snapshot"
    assert {model["model"]: model["status"] for model in first["models"]} == {
        "die.gguf": "unloaded",
        "m.gguf": "unloaded",
        "slow.gguf": "unloaded",
    }
    await client.post("/api/v2/models/m.gguf/load")
    await client.post("/api/v2/models/m.gguf/unload")
    seen = await read_until(watching, type="state", status="unloaded")
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
    snapshot, *seen, last = await read_until(watching, type="state", status="failed")
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
    await anext(read_events(watching))
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
    await read_until(staying, status="loading")
    leaving.close()
    assert (await get(client, "models/slow.gguf"))["status"] == "loading"
    response = await client.post("/api/v2/models/slow.gguf/unload")
    assert response.status == 200
    *_, state, last = [event async for event in to_end(staying)]
    assert (state["status"], state["reason"]) == ("unloaded", "cancelled")
    assert last["error"]["code"] == "load_cancelled"


async def test_a_client_that_joins_a_silent_load_gets_sse_comments_until_it_ends(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "slow.gguf", "SLOW")
    client = await aiohttp_client(make_app(tmp_path, header_hold_seconds=0.01, ping_seconds=0.01))
    url = "/api/v2/models/slow.gguf/load"
    first = asyncio.ensure_future(client.post(url))
    async with asyncio.timeout(20):
        while (await get(client, "models/slow.gguf")).get("progress") != 0.5:
            await pause()
    async with asyncio.timeout(20):
        joining = await client.post(url, params={"stream": "true"})
        assert await joining.content.readuntil(b"\n\n") == b":\n\n"
        assert await joining.content.readuntil(b"\n\n") == b":\n\n"
    assert (await client.post("/api/v2/models/slow.gguf/unload")).status == 200
    *_, last = [event async for event in to_end(joining)]
    assert last["error"]["code"] == "load_cancelled"
    assert (await first).status == 503


async def test_a_streamed_load_ends_with_success_even_if_the_model_was_unloaded_meanwhile(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = SseWriter.write

    async def slowly(writer: SseWriter, text: bytes) -> None:
        if b'"type":"state"' in text and b'"status":"loaded"' in text:
            await client.app[REGISTRY].unload("m.gguf")
        await write(writer, text)

    monkeypatch.setattr(SseWriter, "write", slowly)
    response = await client.post("/api/v2/models/m.gguf/load", params={"stream": "true"})
    *_, last = [event async for event in to_end(response)]
    assert last["status"] == "success"
    assert (await get(client, "models/m.gguf"))["status"] == "unloaded"


@pytest.mark.parametrize("path", ["/api/v2/events", "/models/sse"])
async def test_head_on_an_endless_event_stream_is_a_405(client: Client, path: str) -> None:
    async with asyncio.timeout(20):
        assert (await client.head(path)).status == 405


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v2/events"),
        ("GET", "/api/v2/events?model=m.gguf"),
        ("GET", "/models/sse"),
        ("POST", "/api/v2/models/slow.gguf/load?stream=true"),
    ],
)
async def test_one_stream_of_events_too_many_is_a_429_until_one_is_closed(
    client: Client, method: str, path: str
) -> None:
    opened = [await client.get("/api/v2/events") for _ in range(PER_CALLER)]
    refused = await client.request(method, path)
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert (await refused.json())["error"]["code"] == "too_many_streams"
    opened[0].close()
    while (response := await client.get("/api/v2/events")).status == 429:
        await pause()
    assert response.status == 200
