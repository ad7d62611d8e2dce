"""/live, /health and /ready report the state and load no model."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.catalogue.catalogue import Catalogue
from server.http.app_keys import STATUS
from server.supervisor.watchdog import Watchdog
from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, make_app, pause


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_gguf(tmp_path / "m.gguf")
    write_gguf(tmp_path / "die.gguf", "DIE")
    write_gguf(tmp_path / "slow.gguf", "SLOW")
    client = await aiohttp_client(make_app(tmp_path, stall_seconds=3.0))
    # No probe looks for models: they are known from here on.
    await client.get("/api/v2/models")
    return client


async def _get(client: Client, path: str) -> tuple[int, Any]:
    response = await client.get(path)
    assert response.content_type == "application/json"
    return response.status, await response.json()


@pytest.mark.parametrize("path", ["/live", "/health", "/v1/health"])
async def test_a_server_without_loaded_models_is_well(client: Client, path: str) -> None:
    status, document = await _get(client, path)
    assert (status, document["status"]) == (200, "ok")


async def test_health_reports_every_model_that_is_in_use_or_failed(
    client: Client,
) -> None:
    await client.post("/api/v2/models/m.gguf/load")
    await client.post("/api/v2/models/die.gguf/load")
    _, document = await _get(client, "/health")
    assert set(document["models"]) == {"m.gguf", "die.gguf"}
    assert document["models"]["m.gguf"] == {
        "status": "loaded",
        "running": 0,
        "waiting": 0,
        "paused": 0,
        "stalled": False,
    }
    assert document["models"]["die.gguf"] == {"status": "failed", "reason": "crashed"}


async def test_a_model_is_ready_when_it_is_loaded(client: Client) -> None:
    assert await _get(client, "/ready") == (200, {"status": "ready"})
    status, document = await _get(client, "/ready?model=m.gguf")
    assert (status, document["error"]["code"]) == (503, "model_not_ready")
    assert document["error"]["model_status"] == "unloaded"
    await client.post("/api/v2/models/m.gguf/load")
    status, document = await _get(client, "/ready?model=m.gguf")
    assert (status, document) == (200, {"status": "ready", "model": "m.gguf"})
    status, document = await _get(client, "/ready?model=nothing.gguf")
    assert (status, document["error"]["code"]) == (404, "model_not_found")


async def test_a_loading_model_is_not_ready_and_health_reports_its_progress(
    client: Client,
) -> None:
    load = asyncio.ensure_future(client.post("/api/v2/models/slow.gguf/load"))
    async with asyncio.timeout(20):
        while (await _get(client, "/health"))[1]["models"].get("slow.gguf", {}).get(
            "progress"
        ) != 0.5:
            await pause()
    response = await client.get("/ready?model=slow.gguf")
    assert response.status == 503
    assert int(response.headers["Retry-After"]) > 0
    load.cancel()


async def test_with_one_model_served_health_is_503_while_it_loads(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    file = write_gguf(tmp_path / "slow.gguf", "SLOW")
    client = await aiohttp_client(make_app(tmp_path, model_file=file))
    # From the very first answer on: a probe that saw it well would send requests.
    for _ in range(50):
        status, document = await _get(client, "/health")
        assert (status, document["error"]["message"]) == (503, "Loading model")
        assert document["error"]["type"] == "unavailable_error"
    assert (await _get(client, "/live"))[0] == 200


@pytest.mark.parametrize("content", ["", "FAIL:corrupt_file"])
async def test_a_first_load_ends_whether_it_succeeds_or_fails(
    aiohttp_client: AiohttpClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: str,
) -> None:
    file = write_gguf(tmp_path / "m.gguf", content)
    client = await aiohttp_client(make_app(tmp_path, model_file=file))
    await _until(client, "/health", 200)
    for _ in range(10):
        _, document = await _get(client, "/health")
        assert document["models"]["m.gguf"]["status"] == ("failed" if content else "loaded")
    assert ("the model of --model could not be loaded" in caplog.text) == bool(content)


async def test_no_probe_reads_the_disk(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def scan(_: Catalogue) -> None:
        raise AssertionError("the disk was read")

    monkeypatch.setattr(Catalogue, "scan", scan)
    write_gguf(tmp_path / "new.gguf")
    for path, status in (
        ("/live", 200),
        ("/health", 200),
        ("/ready", 200),
        ("/ready?model=m.gguf", 503),
        ("/ready?model=new.gguf", 404),
        ("/api/v2/health", 200),
    ):
        assert (await _get(client, path))[0] == status, path


async def test_models_are_known_to_probes_soon_after_the_start(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path))
    async with asyncio.timeout(20):
        while "model_status" not in (await _get(client, "/ready?model=m.gguf"))[1]["error"]:
            await pause()


async def test_a_server_that_shuts_down_is_not_ready(client: Client) -> None:
    assert client.app is not None
    client.app[STATUS].is_shutting_down = True
    status, document = await _get(client, "/ready")
    assert (status, document["error"]["type"]) == (503, "unavailable_error")
    assert (await _get(client, "/live"))[0] == 200


async def test_a_frozen_worker_is_noticed_and_forgiven(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path, stall_seconds=1.5))
    await client.post("/api/v2/chat/m.gguf", json=chat_body("echo: a"))
    _, model = await _get(client, "/api/v2/models/m.gguf")
    os.kill(model["engine"]["pid"], signal.SIGSTOP)
    # On a busy machine it may have been late before, and its last words may be unread: each answer
    # is waited for by itself.
    await _until(client, "/ready?model=m.gguf", 503)
    async with asyncio.timeout(60):
        while not (await _get(client, "/health"))[1]["models"]["m.gguf"]["stalled"]:
            await pause()
    assert await _get(client, "/live") == (200, {"status": "ok"}), "only the model is stuck"
    os.kill(model["engine"]["pid"], signal.SIGCONT)
    await _until(client, "/ready?model=m.gguf", 200)


async def test_without_a_key_no_probe_names_a_model(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path, api_keys=("secret",)))
    key = {"X-Api-Key": "secret"}
    assert (await _get(client, "/ready?model=m.gguf"))[0] == 401
    await client.post("/api/v2/models/m.gguf/load", headers=key)
    assert await _get(client, "/health") == (200, {"status": "ok"})
    assert await _get(client, "/ready") == (200, {"status": "ready"})
    assert (await _get(client, "/ready?model=m.gguf"))[0] == 401
    assert (await _get(client, "/ready?model=nothing.gguf"))[0] == 401
    known = await client.get("/health", headers=key)
    assert set((await known.json())["models"]) == {"m.gguf"}
    assert (await client.get("/ready?model=m.gguf", headers=key)).status == 200


async def _until(client: Client, path: str, status: int) -> None:
    async with asyncio.timeout(60):
        while (await _get(client, path))[0] != status:
            await pause()


def test_an_engine_with_work_that_makes_no_step_is_stalled() -> None:
    now = 0.0
    life = Watchdog(lambda: now)
    life.note_report(1)
    now = 50.0
    life.note_report(1)
    assert life.stalled_seconds(is_busy=False) == 0.0, "idle engines make no steps"
    assert life.stalled_seconds(is_busy=True) == 50.0
    life.note_report(2)
    assert life.stalled_seconds(is_busy=True) == 0.0


def test_a_worker_without_reports_is_stalled_busy_or_not() -> None:
    now = 0.0
    life = Watchdog(lambda: now)
    now = 500.0
    assert life.stalled_seconds(is_busy=False) == 0.0, "a load has limits of its own"
    life.note_report(0)
    now = 520.0
    assert life.stalled_seconds(is_busy=False) == 20.0


def test_an_intake_that_completes_no_prompt_is_stalled() -> None:
    now = 10.0
    life = Watchdog(lambda: now)
    life.note_report(1, intake_seconds=30.0)
    now = 15.0
    life.note_progress()
    assert life.stalled_seconds(is_busy=False) == 5.0, "no report"
    assert life.stalled_seconds(is_busy=True) == 35.0
    life.note_report(2, intake_seconds=0.0)
    assert life.stalled_seconds(is_busy=True) == 0.0
