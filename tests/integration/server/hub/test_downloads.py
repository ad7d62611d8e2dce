"""Downloads by /api/v2, with real child processes and a fake hub."""

import asyncio
import hashlib
import time

import pytest
from huggingface_hub import scan_cache_dir

from llamabind.errors import InvalidParameterError
from server.http.app_keys import COMPANIONS
from server.protocol.load_settings import LoadSettings
from tests.support.forked_hub import forked_children
from tests.support.hub_app import Q4, Q8, REPO, SIZE, HubClient, MakeClient
from tests.support.hub_files import HubFile
from tests.support.server_app import events, pause

_ID = f"{REPO}/{Q4}"


async def test_a_download_ends_bit_equal_in_the_librarys_own_layout(client: HubClient) -> None:
    started = await client.start(REPO)
    assert started["model"] == f"{REPO}:Q4_K_M"
    assert (started["state"], started["bytes_total"]) == ("queued", SIZE)
    ended = await client.end(started)
    assert ended["state"] == "completed"
    assert (ended["bytes_done"], ended["model_id"], ended["error"]) == (SIZE, _ID, None)
    assert ended["files"] == [{"file": Q4, "bytes": SIZE, "bytes_done": SIZE}]
    repo = client.hub.repos[REPO]
    link = client.cache / "models--fake--tiny-GGUF" / "snapshots" / repo.commit / Q4
    assert link.is_symlink()
    assert hashlib.sha256(link.read_bytes()).hexdigest() == repo.files[Q4].sha256
    assert link.resolve().name == repo.files[Q4].sha256
    assert client.parts() == []
    found = scan_cache_dir(client.cache)
    assert found.warnings == []
    (cached,) = found.repos
    assert (cached.repo_id, cached.size_on_disk) == (REPO, SIZE)
    (revision,) = cached.revisions
    assert (revision.commit_hash, revision.refs) == (repo.commit, frozenset({"main"}))


async def test_a_downloaded_model_has_the_names_it_was_pulled_by(client: HubClient) -> None:
    await client.pull(f"{REPO}:q8_0")
    await client.pull(REPO)
    assert await client.ids() == {_ID, f"{REPO}/{Q8}"}
    for name, model_id in (
        (REPO, _ID),
        (f"{REPO}:q4_k_m", _ID),
        (f"hf.co/{REPO}:Q8_0", f"{REPO}/{Q8}"),
    ):
        body = {"model": name, "messages": [{"role": "user", "content": "echo: hi"}]}
        response = await client.client.post("/v1/chat/completions", json=body)
        assert response.status == 200, await response.text()
        shown = await client.client.get(f"/v1/models/{model_id}")
        assert (await shown.json())["status"]["value"] == "loaded"


async def test_a_model_that_is_there_is_complete_at_once(client: HubClient) -> None:
    await client.pull(REPO)
    asked = len(client.hub.files_asked())
    again = await client.start(REPO, status=200)
    assert (again["state"], again["model_id"]) == ("completed", _ID)
    assert len(client.hub.files_asked()) == asked
    listed = await (await client.client.get("/api/v2/downloads")).json()
    assert [one["id"] for one in listed["data"]] == [again["id"]]


async def test_two_clients_share_one_download(client: HubClient) -> None:
    client.hub.faults.slow = 4 << 20
    first, second = await asyncio.gather(
        client.client.post("/api/v2/downloads", json={"model": REPO}),
        client.client.post("/api/v2/downloads", json={"model": f"{REPO}:Q4_K_M"}),
    )
    assert sorted((first.status, second.status)) == [200, 202]
    download = await first.json()
    assert download["id"] == (await second.json())["id"]
    assert (await client.end(download))["state"] == "completed"
    assert len(client.hub.files_asked()) == 1


async def test_shards_and_projector_come_along(client: HubClient) -> None:
    ended = await client.pull("fake/split-GGUF")
    assert [file["file"] for file in ended["files"]] == [
        "m-Q4_0-00001-of-00002.gguf",
        "m-Q4_0-00002-of-00002.gguf",
        "mmproj-m-F16.gguf",
    ]
    assert ended["model_id"] == "fake/split-GGUF/m-Q4_0-00001-of-00002.gguf"
    assert await client.ids() == {ended["model_id"]}


async def test_a_file_can_be_named(client: HubClient) -> None:
    ended = await client.pull(REPO, file=Q8)
    assert ended["model_id"] == f"{REPO}/{Q8}"
    error = await client.error(REPO, 404, file="other.gguf")
    assert (error["code"], error["param"]) == ("hub_not_found", "file")
    assert Q8 in error["message"]


async def test_a_draft_model_may_be_one_of_the_cache(client: HubClient) -> None:
    await client.pull(f"{REPO}:Q8_0")
    companions = client.client.app[COMPANIONS]
    found = companions.find(LoadSettings(draft_model=f"{REPO}/{Q8}"))
    assert found.draft_model is not None
    assert found.draft_model.startswith(str(client.cache))
    with pytest.raises(InvalidParameterError, match="was not found"):
        companions.find(LoadSettings(draft_model=f"{REPO}/none.gguf"))


async def test_another_revision_has_an_id_of_its_own(client: HubClient) -> None:
    ended = await client.pull(f"{REPO}@v1")
    assert ended["model_id"] == f"{REPO}@v1/{Q4}"
    assert (ended["revision"], ended["model"]) == ("v1", f"{REPO}:Q4_K_M@v1")
    # The same commit is main's, too.
    assert (await client.start(REPO, status=200))["model_id"] == _ID
    assert await client.ids() == {_ID}
    for name in (f"{REPO}@v1", f"{REPO}:Q4_K_M@v1", f"{REPO}@v1/{Q4}"):
        assert (await client.client.get(f"/api/v2/models/{name}")).status == 200


async def test_after_main_went_on_the_older_file_is_still_listed(client: HubClient) -> None:
    repo = client.hub.repos[REPO]
    await client.pull(REPO)
    await client.pull(f"{REPO}:Q8_0")
    before = repo.commit
    repo.files[Q4] = HubFile(b"GGUF of a newer commit")
    repo.salt = "newer"
    ended = await client.pull(REPO)
    assert ended["model_id"] == _ID
    older = f"{REPO}@{before[:12]}/{Q4}"
    assert await client.ids() == {_ID, f"{REPO}/{Q8}", older}
    assert (await client.client.delete(f"/api/v2/models/{older}")).status == 200
    assert await client.ids() == {_ID, f"{REPO}/{Q8}"}


async def test_progress_is_streamed_to_the_end_and_at_most_five_times_a_second(
    client: HubClient,
) -> None:
    client.hub.faults.slow = 3 << 20
    began = time.monotonic()
    response = await client.client.post("/api/v2/downloads?stream=true", json={"model": REPO})
    documents = await events(response)
    seconds = time.monotonic() - began
    assert documents[-1]["state"] == "completed"
    done = [one["bytes_done"] for one in documents]
    assert done == sorted(done)
    running = [one for one in documents if 0 < one["bytes_done"] < SIZE]
    assert running, "at 3 MB/s a download of 4 MB takes over a second"
    assert len(documents) <= 5 * seconds + 5
    assert any(one["bytes_per_second"] and one["eta_seconds"] for one in running)


async def test_events_tell_of_downloads_and_of_the_changed_list(client: HubClient) -> None:
    response = await client.client.get("/api/v2/events")
    of_one = await client.client.get("/api/v2/events?model=none")
    assert of_one.status == 404
    await client.pull(REPO)
    kinds: list[str] = []
    async with asyncio.timeout(30):
        while "models_changed" not in kinds:
            line = await response.content.readline()
            if line.startswith(b'data: {"type":"'):
                kinds.append(line.split(b'"')[3].decode())
    response.close()
    assert kinds[0] == "snapshot"
    assert set(kinds[1:]) == {"download", "models_changed"}


async def test_at_most_two_run_and_the_others_wait_in_order(client: HubClient) -> None:
    client.hub.faults.slow = 200_000
    started = [
        await client.start(f"{REPO}:Q4_K_M"),
        await client.start(f"{REPO}:Q8_0"),
        await client.start("fake/split-GGUF"),
    ]
    await client.until(started[1], lambda one: one["bytes_done"] > 0)
    states = [(await client.show(one))["state"] for one in started]
    assert states == ["running", "running", "queued"]
    assert len(forked_children()) <= 3, "two downloads, and the process that looks things up"
    assert (await client.cancel(started[0]))["state"] == "cancelled"
    client.hub.faults.slow = 0
    assert (await client.end(started[2]))["state"] == "completed"


async def test_cancel_ends_the_process_and_keeps_the_part_for_the_next(client: HubClient) -> None:
    client.hub.faults.slow = SIZE // 10  # ten seconds, of which the test needs one
    started = await client.start(REPO)
    await client.until(started, lambda one: one["bytes_done"] > SIZE // 10)
    cancelled = await client.cancel(started)
    assert cancelled["state"] == "cancelled"
    assert len(forked_children()) <= 1
    (part,) = client.parts()
    kept = part.stat().st_size
    assert kept > 0
    client.hub.faults.slow = 0
    again = await client.start(REPO)
    assert again["bytes_done"] == kept
    assert again["id"] != started["id"]
    assert (await client.end(again))["state"] == "completed"
    assert client.hub.files_asked()[-1].headers["range"] == f"bytes={kept}-"
    gone = await client.client.get(f"/api/v2/downloads/{started['id']}")
    assert (gone.status, (await gone.json())["error"]["code"]) == (404, "download_not_found")


@pytest.mark.parametrize("is_running", [True, False])
async def test_discard_removes_the_part(client: HubClient, is_running: bool) -> None:
    client.hub.faults.slow = SIZE // 20
    started = await client.start(REPO)
    await client.until(started, lambda one: one["bytes_done"] > 0)
    if not is_running:
        await client.cancel(started)
        assert client.parts()
    ended = await client.cancel(started, "?discard=true")
    assert (ended["state"], ended["bytes_done"], client.parts()) == ("cancelled", 0, [])


async def test_a_queued_download_can_be_cancelled(client: HubClient) -> None:
    client.hub.faults.slow = 100_000
    for model in (f"{REPO}:Q4_K_M", f"{REPO}:Q8_0"):
        await client.start(model)
    queued = await client.start("fake/split-GGUF")
    assert (await client.cancel(queued))["state"] == "cancelled"


async def test_the_end_of_the_server_ends_its_downloads(make_client: MakeClient) -> None:
    client = await make_client()
    client.hub.faults.slow = 200_000
    await client.start(REPO)
    while len(forked_children()) < 2:
        await pause()
    children = forked_children()
    await client.client.close()
    assert not any(child.is_running() for child in children)
    assert len(client.parts()) <= 1


async def test_a_server_that_is_offline_asks_nothing_and_loads_what_is_there(
    make_client: MakeClient,
) -> None:
    online = await make_client()
    await online.pull(REPO)
    offline = await make_client(offline=True)
    asked = len(offline.hub.requests)
    for path in ("/api/v2/hub/models", f"/api/v2/hub/models/{REPO}"):
        response = await offline.client.get(path)
        assert (response.status, (await response.json())["error"]["code"]) == (403, "offline")
    assert (await offline.error(REPO, 403))["code"] == "offline"
    assert await offline.ids() == {_ID}
    loaded = await offline.client.post(f"/api/v2/models/{_ID}/load")
    assert loaded.status == 200
    assert len(offline.hub.requests) == asked


async def test_without_the_library_the_answer_says_what_to_install(
    client: HubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.hub.lookups.find_spec", lambda _: None)
    error = await client.error(REPO, 501)
    assert error["code"] == "hub_not_installed"
    assert "pip install" in error["message"]


async def test_only_an_admin_may_download_or_delete(make_client: MakeClient) -> None:
    client = await make_client(api_keys=("user",), admin_keys=("admin",))
    user, admin = {"X-Api-Key": "user"}, {"X-Api-Key": "admin"}
    body = {"model": REPO}
    for send, path in (
        (client.client.post, "/api/v2/downloads"),
        (client.client.delete, "/api/v2/downloads/dl-1"),
        (client.client.delete, f"/api/v2/models/{_ID}"),
        (client.client.post, "/models"),
        (client.client.delete, f"/models?model={REPO}"),
        (client.client.post, "/api/pull"),
        (client.client.delete, "/api/delete"),
    ):
        assert (await send(path, json=body)).status == 401, path
        assert (await send(path, json=body, headers=user)).status == 403, path
    assert client.hub.requests == []
    assert (await client.client.get("/api/v2/downloads", headers=user)).status == 200
    started = await client.client.post("/api/v2/downloads", json=body, headers=admin)
    assert started.status == 202


async def test_metrics_count_bytes_and_ends(client: HubClient) -> None:
    await client.pull(REPO)
    await client.start(REPO, status=200)
    text = await (await client.client.get("/metrics")).text()
    lines = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("llamabind_download")
    )
    assert float(lines["llamabind_download_bytes_total"]) == SIZE
    assert float(lines['llamabind_downloads_total{state="completed"}']) == 1
