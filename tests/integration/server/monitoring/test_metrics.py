"""/metrics: the effect of requests, and that a scrape loads no model."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.monitoring.gpu import GpuDevice, GpuMemory
from server.monitoring.rpc_devices import RpcDevice
from server.monitoring.system_metrics import SystemMetrics
from tests.support.gguf_files import write_gguf
from tests.support.prometheus_text import Scrape, scrape
from tests.support.server_app import Client, chat_body, events, make_app, pause

_CHAT = "/api/v2/chat/m.gguf"


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_gguf(tmp_path / "m.gguf")
    write_gguf(tmp_path / "bug.gguf", "BUG")
    return await aiohttp_client(make_app(tmp_path))


async def _until(client: Client, name: str, value: float, **labels: str) -> Scrape:
    async with asyncio.timeout(20):
        while (seen := await scrape(client)).value(name, **labels) != value:
            await pause()
    return seen


async def test_an_answer_is_counted_with_its_tokens_and_times(client: Client) -> None:
    response = await client.post(_CHAT, json=chat_body("echo: a b c"))
    assert response.status == 200
    seen = await scrape(client)
    assert seen.value("llamabind_requests_received_total", model="m.gguf") == 1
    assert seen.value("llamabind_requests_total", model="m.gguf", outcome="stop") == 1
    assert seen.value("llamabind_generated_tokens_total", model="m.gguf") == 3
    assert seen.value("llamabind_prompt_tokens_total", model="m.gguf") == 3
    assert seen.value("llamabind_cached_tokens_total", model="m.gguf") == 2
    for name, count in (
        ("time_to_first_token", 1),
        ("inter_token", 2),
        ("queue", 1),
        ("prompt", 1),
        ("decode", 1),
        ("request", 1),
    ):
        assert seen.value(f"llamabind_{name}_seconds_count", model="m.gguf") == count, name
    assert seen.value("llamabind_prompt_seconds_sum") == pytest.approx(0.010)
    assert seen.value("llamabind_decode_seconds_sum") == pytest.approx(0.020)


@pytest.mark.parametrize("is_on", [True, False])
async def test_gateways_find_vllms_names_where_they_are_switched_on(
    aiohttp_client: AiohttpClient, tmp_path: Path, is_on: bool
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path, gateway_metrics=is_on))
    await client.post(_CHAT, json=chat_body("echo: a b c"))
    seen = await _until(client, "llamabind_kv_cache_utilization", 0.25, model="m.gguf")
    expected = {
        "vllm:num_requests_running": 0,
        "vllm:num_requests_waiting": 0,
        "vllm:kv_cache_usage_perc": 0.25,
        "vllm:gpu_cache_usage_perc": 0.25,
    }
    for name, value in expected.items():
        if is_on:
            # The request leaves the counts only after its answer.
            await _until(client, name, value, model_name="m.gguf")
        else:
            assert name not in seen.families


async def test_metrics_under_llama_servers_names_have_the_same_figures(client: Client) -> None:
    await client.post(_CHAT, json=chat_body("echo: a b c"))
    seen = await _until(client, "llamacpp:n_tokens_max", 8)
    assert seen.value("llamabind_engine_step_seconds", model="m.gguf") == 0.25
    assert seen.value("llamabind_engine_prompt_tokens_per_second") == 640
    assert seen.value("llamabind_engine_generated_tokens_per_second") == 12
    assert seen.value("llamacpp:prompt_tokens_total") == 3
    assert seen.value("llamacpp:prompt_tokens_cached_total") == 2
    assert seen.value("llamacpp:tokens_predicted_total") == 3
    assert seen.value("llamacpp:prompt_seconds_total") == pytest.approx(0.010)
    assert seen.value("llamacpp:predicted_tokens_seconds") == pytest.approx(150)
    assert seen.value("llamacpp:spec_decode_num_drafts_total") == 5
    assert seen.value("llamacpp:spec_decode_num_draft_tokens_total") == 20
    assert seen.value("llamacpp:spec_decode_num_accepted_tokens_total") == 9
    per_position = "llamacpp:spec_decode_num_accepted_tokens_per_pos_total"
    assert seen.value(per_position, position="1") == 4
    for name in ("requests_processing", "requests_deferred", "n_busy_slots_per_decode"):
        assert f"llamacpp:{name}" in seen.families


async def test_the_metrics_of_the_machine_list_models_in_memory_with_their_load(
    client: Client,
) -> None:
    async def models() -> list[dict[str, Any]]:
        document = await (await client.get("/api/v2/metrics")).json()
        return list(document["models"])

    assert await models() == []
    await client.post(_CHAT, json=chat_body("echo: a b c"))
    async with asyncio.timeout(20):
        # The first report after the request; others may come while it waits or runs.
        while (figures := (await models())[0])["kv_cells"] is None or (
            figures["running"] or figures["waiting"]
        ):
            await pause()
    assert figures["model"] == "m.gguf"
    assert figures["status"] == "loaded"
    assert (figures["n_parallel"], figures["kv_cells"], figures["memory_bytes"]) == (
        4,
        64,
        13 << 20,
    )
    assert (figures["prompt_tokens_total"], figures["generated_tokens_total"]) == (3, 3)
    assert (figures["running"], figures["waiting"]) == (0, 0)
    assert figures["generated_tokens_per_second"] == 12.0
    await client.post("/api/v2/models/m.gguf/unload")
    assert await models() == []


@pytest.mark.parametrize(
    ("text", "outcome"), [("refuse", "invalid"), ("bug", "error"), ("die", "error")]
)
async def test_a_failed_request_is_counted_as_invalid_or_error(
    client: Client, text: str, outcome: str
) -> None:
    await client.post(_CHAT, json=chat_body(text))
    seen = await _until(client, "llamabind_requests_in_progress", 0)
    assert seen.value("llamabind_requests_total", outcome=outcome) == 1


async def test_a_client_that_disconnects_is_counted_as_cancelled(client: Client) -> None:
    async with client.post(f"{_CHAT}/stream", json=chat_body("forever")) as response:
        await response.content.readline()
        assert (await scrape(client)).value("llamabind_requests_in_progress") == 1
        response.close()
    seen = await _until(client, "llamabind_requests_in_progress", 0)
    assert seen.value("llamabind_requests_total", outcome="cancelled") == 1
    assert seen.value("llamabind_generated_tokens_total") >= 1


async def test_a_scrape_loads_no_model_and_has_llama_servers_header(client: Client) -> None:
    await client.get("/api/v2/models")
    response = await client.get("/metrics")
    assert response.content_type == "text/plain"
    assert abs(int(response.headers["Process-Start-Time-Unix"]) - time.time()) < 600
    seen = Scrape(await response.text())
    assert seen.value("llamabind_model_state", model="m.gguf", state="unloaded") == 1
    assert seen.value("llamabind_model_state", model="m.gguf", state="loaded") == 0
    assert seen.value("process_resident_memory_bytes") > 0


async def test_disabled_metrics_are_a_501(aiohttp_client: AiohttpClient, tmp_path: Path) -> None:
    client = await aiohttp_client(make_app(tmp_path, metrics=False))
    response = await client.get("/metrics")
    assert response.status == 501
    assert (await response.json())["error"]["type"] == "not_supported_error"


async def test_workers_report_their_figures_without_a_request(client: Client) -> None:
    await client.post("/api/v2/models/m.gguf/load")
    seen = await _until(client, "llamabind_kv_cells", 64, model="m.gguf")
    assert seen.value("llamabind_worker_resident_bytes", model="m.gguf") > 1 << 20
    assert seen.value("llamabind_model_memory_bytes", model="m.gguf") == 13 << 20
    assert seen.value("llamabind_engine_stalled_seconds", model="m.gguf") < 60


async def test_loads_unloads_and_crashes_are_counted_by_reason(client: Client) -> None:
    await client.post("/api/v2/models/m.gguf/load")
    await client.post("/api/v2/models/m.gguf/unload")
    await client.post(_CHAT, json=chat_body("die"))
    await client.post("/api/v2/models/bug.gguf/load")
    seen = await _until(client, "llamabind_worker_crashes_total", 1)
    assert seen.value("llamabind_model_loads_total", model="m.gguf", result="loaded") == 2
    assert seen.value("llamabind_model_loads_total", model="bug.gguf", result="unknown") == 1
    assert seen.value("llamabind_load_seconds_count", model="m.gguf") == 2
    assert seen.value("llamabind_model_unloads_total", model="m.gguf", reason="requested") == 1
    assert seen.value("llamabind_model_unloads_total", model="m.gguf", reason="crashed") == 1


async def test_gpus_have_gauges(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = GpuDevice(0, "RTX", GpuMemory(1000, 250, 25.0), 50.0)
    monkeypatch.setattr(SystemMetrics, "gpus", (gpu,))
    seen = await scrape(client)
    assert seen.value("llamabind_gpu_memory_bytes", gpu="0", name="RTX") == 1000 << 20
    assert seen.value("llamabind_gpu_memory_used_bytes", gpu="0", name="RTX") == 250 << 20
    assert seen.value("llamabind_gpu_utilization_percent", gpu="0", name="RTX") == 50


async def test_remote_devices_have_gauges(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    known = RpcDevice("RPC0", "a:1", "ok", GpuMemory(1000, 250, 25.0))
    lost = RpcDevice("RPC1", "b:2", "lost", None, "gone")
    monkeypatch.setattr(SystemMetrics, "rpc_devices", (known, lost))
    seen = await scrape(client)
    labels = {"device": "RPC0", "server": "a:1"}
    assert seen.value("llamabind_rpc_device_up", **labels) == 1
    assert seen.value("llamabind_rpc_device_memory_bytes", **labels) == 1000 << 20
    assert seen.value("llamabind_rpc_device_memory_free_bytes", **labels) == 750 << 20
    assert seen.value("llamabind_rpc_device_up", device="RPC1", server="b:2") == 0


async def test_a_streamed_answer_counts_like_a_whole_one(client: Client) -> None:
    async with client.post(f"{_CHAT}/stream", json=chat_body("echo: a b c")) as response:
        await events(response)
    seen = await _until(client, "llamabind_requests_in_progress", 0)
    assert seen.value("llamabind_requests_total", outcome="stop") == 1
    assert seen.value("llamabind_generated_tokens_total") == 3


@pytest.mark.parametrize(
    ("path", "body", "n_tokens"),
    [
        ("/tokenize", {"content": "a b"}, 0),
        ("/detokenize", {"tokens": [1, 2]}, 0),
        ("/apply-template", {"messages": [{"role": "user", "content": "a b"}]}, 0),
        ("/v1/embeddings", {"input": ["abc", "de"]}, 5),
        ("/v1/rerank", {"query": "a", "documents": ["abc", "de"]}, 5),
    ],
)
async def test_a_task_counts_as_done_and_not_as_an_answer(
    client: Client, path: str, body: dict[str, object], n_tokens: int
) -> None:
    assert (await client.post(path, json=body | {"model": "m.gguf"})).status == 200
    seen = await scrape(client)
    assert seen.value("llamabind_requests_total", model="m.gguf", outcome="done") == 1
    assert seen.value("llamabind_prompt_tokens_total", model="m.gguf") == n_tokens
    assert seen.value("llamabind_request_seconds_count", model="m.gguf") == 0
    model = await (await client.get("/api/v2/models/m.gguf")).json()
    assert model["performance"]["tokens_processed"] == n_tokens


async def test_the_tokens_of_a_running_request_are_counted(client: Client) -> None:
    response = await client.post("/api/v2/chat/m.gguf/stream", json=chat_body("forever"))
    for _ in range(5):
        await response.content.readuntil(b"\n\n")
    performance = (await (await client.get("/api/v2/models/m.gguf")).json())["performance"]
    assert performance["tokens_processed"] >= 5 + 5
    # 0 if tokens and time were added only when a request ends.
    assert performance["average_speed"] > 0
    response.close()
