"""Downloads that go wrong, by the faults of the fake hub; each ends with an error by name."""

import asyncio
import hashlib
import os
import signal
from pathlib import Path

import psutil
import pytest
from huggingface_hub import scan_cache_dir

from server.http.app_keys import LOOKUPS
from server.hub.cache import HubCache
from server.hub.process import HubProcess
from tests.support.fake_hub import FakeHub
from tests.support.forked_hub import forked_children
from tests.support.hub_app import Q4, REPO, SIZE, TOKEN, HubClient, MakeClient
from tests.support.hub_files import HubFile, HubRepo
from tests.support.small_disk import fill, small_disk

_GATED = "fake/gated"
# As the server starts them; most tests fork them.
_START = HubProcess.start
# Where a connection is cut, and what the library may lose of the end.
_CUT, _CHUNK = int(SIZE * 0.3), 64 << 10


async def test_a_connection_that_is_cut_is_continued_where_it_ended(client: HubClient) -> None:
    client.hub.faults.cut, client.hub.faults.cuts = 0.3, 1
    ended = await client.pull(REPO)
    assert ended["bytes_done"] == SIZE
    first, second = client.hub.files_asked()
    assert "range" not in first.headers
    start = int(second.headers["range"].split("=")[1].rstrip("-"))
    assert _CUT - _CHUNK < start <= _CUT
    assert client.hub.bytes_sent < SIZE + _CHUNK


async def test_a_hub_that_cuts_each_connection_is_given_up_and_the_part_stays(
    client: HubClient,
) -> None:
    client.hub.faults.cut = 0.3
    ended = await client.end(await client.start(REPO))
    assert (ended["state"], ended["error"]["code"]) == ("failed", "hub_unreachable")
    (part,) = client.parts()
    assert _CUT - _CHUNK < part.stat().st_size <= _CUT
    client.hub.faults.cut = 1.0
    assert (await client.pull(REPO))["state"] == "completed"
    assert int(client.hub.files_asked()[-1].headers["range"][6:-1]) > _CUT - _CHUNK


async def test_a_file_with_wrong_bytes_is_removed(client: HubClient) -> None:
    client.hub.faults.corrupt = True
    ended = await client.end(await client.start(REPO))
    assert (ended["state"], ended["error"]["code"]) == ("failed", "hub_corrupt")
    assert Q4 in ended["error"]["message"]
    assert client.files("*.gguf") + client.parts() == []
    assert await client.ids() == set()
    client.hub.faults.corrupt = False
    await client.pull(REPO)


async def test_a_part_with_wrong_bytes_is_thrown_away_and_begun_anew(client: HubClient) -> None:
    repo = client.hub.repos[REPO]
    part = HubCache(client.cache).part(REPO, repo.files[Q4].sha256)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    await client.pull(REPO)
    asked = [one.headers.get("range") for one in client.hub.files_asked()]
    assert asked == ["bytes=1000-", None]
    assert client.parts() == []


async def test_a_part_that_is_too_long_is_begun_anew(client: HubClient) -> None:
    part = HubCache(client.cache).part(REPO, client.hub.repos[REPO].files[Q4].sha256)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * (SIZE + 1))
    await client.pull(REPO)


async def test_a_hub_that_ignores_ranges_sends_all_again(client: HubClient) -> None:
    client.hub.faults.cut, client.hub.faults.cuts = 0.3, 1
    client.hub.faults.ignore_range = True
    await client.pull(REPO)
    link = client.files("*.gguf")[0]
    assert hashlib.sha256(link.read_bytes()).hexdigest() == link.resolve().name


@pytest.mark.parametrize("status", [401, 403])
async def test_a_gated_repository_needs_a_token(client: HubClient, status: int) -> None:
    client.hub.faults.gated_status = status
    error = await client.error(_GATED, 403)
    assert error["code"] == "hub_gated"
    assert "HF_TOKEN" in error["message"]
    assert client.files() == []


async def test_the_token_reaches_the_hub_and_nothing_else(
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = await make_client(hub_token=TOKEN)
    monkeypatch.setattr(HubProcess, "start", _START)
    caplog.set_level("DEBUG")
    # Files come from another origin, as those of the real hub.
    hub.faults.cdn = hub.url.replace("127.0.0.1", "localhost")
    hub.faults.slow = 1 << 20
    started = await client.start(_GATED)
    command_lines = [
        word
        for process in psutil.Process(os.getpid()).children(recursive=True)
        for word in process.cmdline()
    ]
    assert any("server.hub" in word for word in command_lines)
    ended = await client.end(started)
    assert ended["state"] == "completed"
    await client.pull("fake/private")
    with_token = {one.path.split("/")[1] for one in hub.requests if one.token == TOKEN}
    without = {one.path.split("/")[1] for one in hub.requests if one.token is None}
    assert (with_token, without) == ({"api", "fake"}, {"_cdn"})
    assert TOKEN not in caplog.text + str(command_lines) + str(ended)
    assert TOKEN not in repr(client.client.app)
    files = client.cache.rglob("*")
    assert not any(TOKEN.encode() in path.read_bytes() for path in files if path.is_file())


@pytest.mark.parametrize(
    ("model", "status", "code", "word"),
    [
        ("fake/none", 404, "hub_not_found", "does not exist"),
        ("fake/private", 404, "hub_not_found", "is private"),
        (f"{REPO}@none", 404, "hub_not_found", "revision"),
        (f"{REPO}:Q2_K", 404, "hub_not_found", Q4),
        ("none", 400, "invalid_model_name", "org/repo"),
        (f"{REPO}@../x", 400, "invalid_model_name", "revision"),
        ("../x/y", 400, "invalid_model_name", "org/repo"),
    ],
)
async def test_what_is_not_on_the_hub_is_an_error_before_a_byte(
    client: HubClient, model: str, status: int, code: str, word: str
) -> None:
    error = await client.error(model, status)
    assert error["code"] == code
    assert word in error["message"]
    assert client.files() == []
    assert client.hub.files_asked() == []


@pytest.mark.parametrize("file", ["../../etc/passwd.gguf", "/x.gguf", "a\\b.gguf", "README.md"])
async def test_a_file_name_that_leads_elsewhere_is_refused(client: HubClient, file: str) -> None:
    error = await client.error(REPO, 400, file=file)
    assert (error["code"], error["param"]) == ("invalid_model_name", "file")
    assert client.hub.requests == []


async def test_files_of_a_hostile_hub_stay_in_the_cache(client: HubClient) -> None:
    names = (
        "../../../evil.gguf",
        "/evil.gguf",
        "a/../../evil.gguf",
        ".hidden.gguf",
        "ok-Q8_0.gguf",
    )
    files = {name: HubFile(b"GGUF") for name in names}
    client.hub.repos["fake/evil"] = HubRepo("fake/evil", files)
    ended = await client.pull("fake/evil")
    assert [file["file"] for file in ended["files"]] == ["ok-Q8_0.gguf"]
    assert [path.name for path in client.files("*.gguf")] == ["ok-Q8_0.gguf"]


async def test_checksums_and_commits_of_a_hostile_hub_name_no_other_files(
    client: HubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = HubFile(b"GGUF")
    file.__dict__["sha256"] = "../../../../evil"
    client.hub.repos["fake/evil"] = HubRepo("fake/evil", {"m.gguf": file})
    ended = await client.end(await client.start("fake/evil"))
    assert ended["error"]["code"] == "hub_corrupt"
    monkeypatch.setattr(HubRepo, "commit", "../../evil")
    error = await client.error(REPO, 503)
    assert error["code"] == "hub_unreachable"
    assert list(client.cache.parent.rglob("*evil*/blobs/*")) == []
    assert not list(client.cache.parent.parent.rglob("evil"))


async def test_an_address_with_a_password_is_not_shown(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, hub: FakeHub
) -> None:
    client = await make_client()
    monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("//", "//user:s3cret@"))
    hub.faults.refuse = True
    error = await client.error(REPO, 503)
    assert error["code"] == "hub_unreachable"
    assert "s3cret" not in str(error) + client.client.app[LOOKUPS].endpoint


async def test_too_many_requests_are_reported_with_the_time_to_wait(client: HubClient) -> None:
    client.hub.faults.too_many, client.hub.faults.retry_after = 1, 7
    response = await client.client.post("/api/v2/downloads", json={"model": REPO})
    assert (response.status, response.headers["Retry-After"]) == (503, "7")
    assert (await response.json())["error"]["code"] == "hub_rate_limited"


async def test_too_many_requests_in_a_download_are_waited_for(client: HubClient) -> None:
    # The second connection is asked to wait: the first could end before the fault is there.
    client.hub.faults.cut, client.hub.faults.cuts = 0.3, 1
    client.hub.faults.slow = SIZE // 20
    started = await client.start(REPO)
    await client.until(started, lambda one: one["bytes_done"] > 0)
    client.hub.faults.retry_after = 0
    client.hub.faults.too_many = 1
    client.hub.faults.slow = 0
    assert (await client.end(started))["state"] == "completed"
    assert client.hub.faults.too_many == 0


@pytest.mark.parametrize("fault", ["refuse", "unavailable"])
async def test_a_hub_that_does_not_answer_is_unreachable(client: HubClient, fault: str) -> None:
    setattr(client.hub.faults, fault, 1)
    response = await client.client.post("/api/v2/downloads", json={"model": REPO})
    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (503, "hub_unreachable")
    assert "Retry-After" in response.headers
    assert client.hub.url.removeprefix("http://") in error["message"]


async def test_a_disk_that_is_filled_during_a_download_fails_it_and_a_later_one_continues(
    make_client: MakeClient, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "cache", SIZE + (1 << 20)) as disk:
        client = await make_client(hub_cache=disk)
        client.hub.faults.slow = SIZE // 4
        download = await client.start(REPO)
        await client.until(download, lambda one: one["bytes_done"] > 0)
        filler = fill(disk)
        client.hub.faults.slow = 0
        ended = await client.end(download)
        assert (ended["state"], ended["error"]["code"]) == ("failed", "insufficient_disk_space")
        assert "disk of the cache is full" in ended["error"]["message"]
        assert await client.ids() == set()
        assert (await client.error(REPO, 507))["code"] == "insufficient_disk_space"
        filler.unlink()
        await client.pull(REPO)
        await client.client.close()


async def test_a_disk_without_room_is_507_with_both_numbers(
    client: HubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HubCache, "free_bytes", lambda _: SIZE - 1)
    error = await client.error(REPO, 507)
    assert error["code"] == "insufficient_disk_space"
    assert str(SIZE) in error["message"]
    assert str(SIZE - 1) in error["message"]
    monkeypatch.setattr(HubCache, "free_bytes", lambda _: SIZE + 1)
    client.hub.faults.slow = 100_000
    await client.start(REPO)
    # The first download has a claim to the room, although it has not written it yet.
    error = await client.error(f"{REPO}:Q8_0", 507)
    assert "for other downloads" in error["message"]


async def test_a_cache_that_cannot_be_written_is_named(
    make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    client = await make_client(hub_cache=tmp_path / "file" / "cache")
    ended = await client.end(await client.start(REPO))
    assert ended["error"]["code"] == "cache_not_writable"
    assert str(tmp_path) not in ended["error"]["message"]


async def test_a_download_process_that_is_killed_is_an_error_and_its_part_is_continued(
    client: HubClient,
) -> None:
    client.hub.faults.slow = SIZE // 10
    started = await client.start(REPO)
    await client.until(started, lambda one: one["bytes_done"] > SIZE // 10)
    newest = max(forked_children(), key=lambda child: child.create_time())
    newest.send_signal(signal.SIGKILL)
    ended = await client.end(started)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "download_failed")
    client.hub.faults.slow = 0
    await client.pull(REPO)
    assert client.hub.files_asked()[-1].headers["range"].startswith("bytes=")


async def test_two_servers_on_one_cache_download_once(make_client: MakeClient) -> None:
    one, other = await make_client(), await make_client()
    one.hub.faults.slow = 1 << 18
    first, second = await one.start(REPO), await other.start(REPO)
    await other.until(second, lambda download: download["bytes_done"] > 0)
    one.hub.faults.slow = 0
    ends = await asyncio.gather(one.end(first), other.end(second))
    assert [end["state"] for end in ends] == ["completed", "completed"]
    assert len(one.hub.files_asked()) == 1
    error = await other.client.delete(f"/api/v2/models/{REPO}/{Q4}")
    assert error.status == 200
    assert await one.ids() == set()


async def test_a_file_system_without_links_gets_the_bytes_themselves(
    client: HubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_SYMLINKS", "1")
    ended = await client.pull(REPO)
    (file,) = client.files("*.gguf")
    assert not file.is_symlink()
    assert file.stat().st_size == SIZE
    assert len(scan_cache_dir(client.cache).repos) == 1
    assert (await client.start(REPO, status=200))["state"] == "completed"
    deleted = await client.client.delete(f"/api/v2/models/{ended['model_id']}")
    assert deleted.status == 200
    assert client.files() == []


@pytest.mark.parametrize(
    "answer",
    [
        "<html>log in</html>",
        "null",
        "[1, 2]",
        '{"a": 1}',
        '[{"id": 5, "siblings": 3}]',
        '{"id": "fake/tiny-GGUF", "siblings": [{"rfilename": 5}], "sha": 1}',
        '{"id": "../../evil", "siblings": [], "sha": "' + "a" * 40 + '"}',
        "[" * 100_000,
    ],
)
async def test_an_answer_that_is_not_a_hubs_is_an_unreachable_hub(
    client: HubClient, answer: str
) -> None:
    client.hub.faults.nonsense = answer
    paths = ("/api/v2/hub/models?search=x", f"/api/v2/hub/models/{REPO}")
    errors = [(await (await client.client.get(path)).json())["error"] for path in paths]
    errors.append(await client.error(REPO, 503))
    for error in errors:
        assert error["code"] == "hub_unreachable", error
        assert "HF_ENDPOINT" in error["message"]


async def test_a_repository_with_thousands_of_models_is_listed(client: HubClient) -> None:
    file = HubFile(b"one")
    names = [f"d{number % 50}/m{number}-Q{number}_K.gguf" for number in range(5000)]
    client.hub.repos["fake/many"] = HubRepo("fake/many", dict.fromkeys(names, file))
    found = await (await client.client.get("/api/v2/hub/models/fake/many")).json()
    assert len(found["files"]) == len(names)
    assert [one["file"] for one in found["files"] if one["default"]] == names[:1]


@pytest.mark.parametrize(
    "name", ["<script>/x", "org/evil\u202efugg", "org/" + "n" * 10_000, "../.."]
)
async def test_a_search_leaves_out_names_that_no_repository_can_have(
    client: HubClient, name: str
) -> None:
    for one in (name, "fake/good"):
        client.hub.repos[one] = HubRepo(one, {})
    found = await (await client.client.get("/api/v2/hub/models?limit=100")).json()
    names = [one["repo"] for one in found["data"]]
    assert "fake/good" in names
    assert name not in names
