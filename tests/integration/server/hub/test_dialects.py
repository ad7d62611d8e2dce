"""Downloads by llama-server's and Ollama's API, the hub's listings, and deletions."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from server.api.v2.hub import fits
from server.monitoring.gpu import GpuDevice, GpuMemory
from server.monitoring.system_metrics import SystemMetrics
from tests.support.gguf_files import write_gguf
from tests.support.hub_app import Q4, Q8, REPO, SIZE, HubClient, MakeClient
from tests.support.server_app import pause

_NAME = f"{REPO}:Q4_K_M"
_ID = f"{REPO}/{Q4}"


async def _json(response: Any) -> Any:
    return json.loads(await response.text())


async def test_llama_servers_download_and_deletion_with_their_events(client: HubClient) -> None:
    feed = await client.client.get("/models/sse")
    response = await client.client.post("/models", json={"model": _NAME})
    assert (response.status, await _json(response)) == (200, {"success": True})
    again = await client.client.post("/models", json={"model": _NAME})
    assert (again.status, (await _json(again))["error"]["code"]) == (400, "model_exists")
    seen = await _events_until(feed, "models_reload")
    progress = [one for one in seen if one["event"] == "download_progress"]
    (url,) = progress[-1]["data"]["progress"]
    assert url.startswith(client.hub.url)
    assert url.endswith(Q4)
    assert progress[-1]["data"]["progress"][url]["total"] == SIZE
    assert {"model": _NAME, "event": "download_finished", "data": {}} in seen
    listed = (await _json(await client.client.get("/models")))["data"]
    (model,) = listed
    assert (model["source"], model["can_remove"]) == ("cache", True)
    assert _NAME in model["aliases"]
    deleted = await client.client.delete(f"/models?model={_NAME}")
    assert (deleted.status, await _json(deleted)) == (200, {"success": True})
    assert (await _events_until(feed, "model_remove"))[-1]["model"] == _ID
    feed.close()
    assert client.files() == []


async def test_llama_servers_unload_pauses_a_download_and_delete_discards_it(
    client: HubClient,
) -> None:
    client.hub.faults.slow = 1 << 18  # so slow that it is still running when it is deleted
    feed = await client.client.get("/models/sse")
    await client.client.post("/models", json={"model": _NAME})
    while not client.parts():
        await pause()
    response = await client.client.post("/models/unload", json={"model": _NAME})
    assert await _json(response) == {"success": True}
    assert (await _events_until(feed, "download_failed"))[-1]["model"] == _NAME
    feed.close()
    assert len(client.parts()) == 1
    again = await client.client.post("/models", json={"model": _NAME})
    assert again.status == 200, await again.text()
    response = await client.client.delete(f"/models?model={REPO}")
    assert response.status == 200, await response.text()
    assert client.parts() == []


async def test_ollamas_pull_sends_lines_up_to_success(client: HubClient) -> None:
    client.hub.faults.slow = 3 << 20
    response = await client.client.post("/api/pull", json={"model": f"hf.co/{_NAME}"})
    assert response.content_type == "application/x-ndjson"
    lines = [json.loads(line) for line in (await response.text()).splitlines()]
    assert lines[0] == {"status": "pulling manifest"}
    assert [line["status"] for line in lines[-3:]] == [
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    pulling = [line for line in lines if "digest" in line]
    digest = client.hub.repos[REPO].files[Q4].sha256
    assert {line["digest"] for line in pulling} == {f"sha256:{digest}"}
    assert {line["status"] for line in pulling} == {f"pulling {digest[:12]}"}
    done = [line["completed"] for line in pulling]
    assert done == sorted(done)
    assert (done[-1], pulling[-1]["total"]) == (SIZE, SIZE)
    whole = await client.client.post("/api/pull", json={"name": _NAME, "stream": False})
    assert await _json(whole) == {"status": "success"}
    shown = await client.client.post("/api/show", json={"model": f"hf.co/{_NAME}"})
    assert shown.status == 200
    deleted = await client.client.delete("/api/delete", json={"model": f"hf.co/{_NAME}"})
    assert (deleted.status, await deleted.text()) == (200, "")
    assert client.files() == []
    gone = await client.client.delete("/api/delete", json={"model": _NAME})
    assert gone.status == 404
    assert "not found" in (await _json(gone))["error"]


async def test_a_pull_whose_client_disconnects_is_cancelled_and_keeps_its_part(
    client: HubClient,
) -> None:
    client.hub.faults.slow = 1 << 18
    response = await client.client.post("/api/pull", json={"model": _NAME})
    await response.content.readline()
    while not client.parts():
        await pause()
    response.close()
    (download,) = (await _json(await client.client.get("/api/v2/downloads")))["data"]
    assert (await client.end(download))["state"] == "cancelled"
    assert len(client.parts()) == 1


async def test_a_download_of_another_client_outlives_a_pull(client: HubClient) -> None:
    client.hub.faults.slow = 2 << 20
    download = await client.start(REPO)
    response = await client.client.post("/api/pull", json={"model": _NAME})
    await response.content.readline()
    response.close()
    assert (await client.end(download))["state"] == "completed"


async def test_errors_have_the_form_of_their_dialect(client: HubClient) -> None:
    client.hub.faults.corrupt = True
    streamed = await client.client.post("/api/pull", json={"model": _NAME})
    last = json.loads((await streamed.text()).splitlines()[-1])
    assert last["code"] == "hub_corrupt"
    assert "checksum" in last["error"]
    whole = await client.client.post("/api/pull", json={"model": _NAME, "stream": False})
    assert (whole.status, (await _json(whole))["code"]) == (502, "hub_corrupt")
    missing = await client.client.post("/api/pull", json={"model": "llama3.2"})
    assert missing.status == 400
    assert isinstance((await _json(missing))["error"], str)
    for path in ("/models", "/api/v2/downloads"):
        response = await client.client.post(path, json={"model": "fake/none"})
        assert response.status == 404
        assert (await _json(response))["error"]["code"] == "hub_not_found"


async def test_a_model_of_the_models_directory_is_pulled_already(
    client: HubClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "models" / "m.gguf")
    response = await client.client.post("/api/pull", json={"model": "m", "stream": False})
    assert await _json(response) == {"status": "success"}
    assert client.hub.requests == []
    response = await client.client.delete("/api/v2/models/m.gguf")
    assert response.status == 403
    assert (tmp_path / "models" / "m.gguf").exists()


async def test_a_loaded_model_is_not_deleted(client: HubClient) -> None:
    await client.pull(REPO)
    assert (await client.client.post(f"/api/v2/models/{_ID}/load")).status == 200
    response = await client.client.delete(f"/api/v2/models/{_ID}")
    assert (response.status, (await _json(response))["error"]["code"]) == (409, "model_in_use")
    assert (await client.client.post(f"/api/v2/models/{_ID}/unload")).status == 200
    response = await client.client.delete(f"/api/v2/models/{_ID}")
    assert await _json(response) == {"id": _ID, "deleted": True, "bytes_freed": SIZE}
    # Its completed download would offer a model that is gone.
    listed = await client.client.get("/api/v2/downloads")
    assert (await _json(listed))["data"] == []


async def test_a_model_is_not_deleted_while_its_repository_is_downloaded(
    client: HubClient,
) -> None:
    await client.pull(REPO)
    client.hub.faults.slow = 1 << 18
    download = await client.start(f"{REPO}:Q8_0")
    response = await client.client.delete(f"/api/v2/models/{_ID}")
    assert (response.status, (await _json(response))["error"]["code"]) == (409, "download_running")
    await client.cancel(download)


async def test_the_hub_is_searched_for_repositories(client: HubClient) -> None:
    found = await _json(await client.client.get("/api/v2/hub/models?search=TINY&limit=5"))
    assert found == {
        "object": "list",
        "data": [
            {
                "repo": REPO,
                "downloads": 100,
                "likes": 10,
                "updated": "2026-01-02T03:04:05Z",
                "gated": False,
            }
        ],
    }
    assert (await client.client.get("/api/v2/hub/models?limit=0")).status == 400
    assert (await client.client.get(f"/api/v2/hub/models?search={'a' * 201}")).status == 400


async def test_a_repository_lists_its_models_and_what_is_here(client: HubClient) -> None:
    await client.pull(REPO)
    document = await _json(await client.client.get(f"/api/v2/hub/models/{REPO}"))
    assert (document["repo"], document["revision"], document["gated"]) == (REPO, "main", False)
    q4, q8 = document["files"]
    assert q4 == {
        "file": Q4,
        "quantisation": "Q4_K_M",
        "bytes": SIZE,
        "n_shards": 1,
        "mmproj": None,
        "default": True,
        "downloaded": True,
        "model": _NAME,
        "fits": "yes",
    }
    assert (q8["file"], q8["downloaded"], q8["default"]) == (Q8, False, False)
    split = await _json(await client.client.get("/api/v2/hub/models/fake/split-GGUF"))
    (model,) = split["files"]
    assert (model["n_shards"], model["mmproj"]) == (2, "mmproj-m-F16.gguf")
    other = await _json(await client.client.get(f"/api/v2/hub/models/{REPO}?revision=v1"))
    assert other["files"][0]["model"] == f"{_NAME}@v1"
    for path, status in ((f"{REPO}?revision=../x", 400), ("fake/none", 404), ("fa--ke/x", 400)):
        assert (await client.client.get(f"/api/v2/hub/models/{path}")).status == status


@pytest.mark.parametrize(
    ("size_mb", "gpu_mb", "host_mb", "answer"),
    [
        (900, None, 1000, "yes"),
        (1000, None, 1000, "no"),
        (900, 1000, 0, "yes"),
        (1000, 1000, 500, "partly"),
        (2000, 1000, 500, "no"),
    ],
)
def test_what_fits_is_compared_with_free_memory(
    size_mb: int, gpu_mb: int | None, host_mb: int, answer: str
) -> None:
    document = SystemMetrics().document
    memory = type(document.memory)(total_mb=9999, available_mb=host_mb, used_mb=0, percent=0.0)
    gpus: tuple[Any, ...] = ()
    if gpu_mb is not None:
        gpus = (_gpu(gpu_mb),)
    system = type(document)(document.cpu, memory, document.gpu, gpus, document.timestamp)
    assert fits(size_mb << 20, system) == answer


def _gpu(free_mb: int) -> GpuDevice:
    memory = GpuMemory(total_mb=free_mb + 500, used_mb=500, percent=0.0)
    return GpuDevice(index=0, name="g", memory=memory, utilization=None)


async def _events_until(feed: Any, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while not found or found[-1]["event"] != kind:
            line = await feed.content.readline()
            assert line, found
            if line.startswith(b"data: "):
                found.append(json.loads(line.removeprefix(b"data: ")))
    return found


async def test_presets_name_models_of_the_hub(make_client: MakeClient, tmp_path: Path) -> None:
    from server.cli.parser import parse_command_line

    file = tmp_path / "models.ini"
    file.write_text(f"[tiny]\nhf-repo = {REPO}:q8_0\nc = 512\nload-on-startup = true\n")
    config = parse_command_line(["--models-preset", str(file)], {})
    client = await make_client(preset_models=config.preset_models)
    async with asyncio.timeout(60):
        while (await _json(await client.client.get("/v1/models/tiny")))["status"][
            "value"
        ] != "loaded":
            await pause()
    assert await client.ids() == {"tiny.gguf", f"{REPO}/{Q8}"}
