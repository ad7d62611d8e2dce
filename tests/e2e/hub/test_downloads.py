"""Downloads by a server that a user starts: kills, signals, and a model of the hub at the start."""

import hashlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import psutil
import pytest

from tests.support.fake_hub import FakeHub
from tests.support.hub_files import HubFile, HubRepo
from tests.support.paths import ROOT, TINY_MODEL
from tests.support.server_process import ServerProcess, is_gone, until

pytestmark = pytest.mark.e2e

_REPO, _Q8, _Q4 = "fake/tiny-GGUF", "tiny-Q8_0.gguf", "tiny-Q4_K_M.gguf"
_SIZE = 16 << 20
_TOKEN = "hf_" + "s3cret" * 6


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    head = TINY_MODEL.read_bytes()
    files = {_Q4: HubFile(head), _Q8: HubFile(head, _SIZE)}
    with FakeHub([HubRepo(_REPO, files)]) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("HF_TOKEN", _TOKEN)
        yield hub


def test_after_a_kill_no_process_stays_and_the_next_server_continues_the_part(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.faults.slow = 2 << 20
    with ServerProcess(tmp_path) as server:
        _, download = server.request("POST", "/api/v2/downloads", {"model": f"{_REPO}:Q8_0"})
        _until_bytes(server, download, _SIZE // 5)
        children = _children(server)
        assert children
        server.signal(signal.SIGKILL)
        server.wait()
    until(lambda: all(is_gone(pid) for pid in children), "the children end with the server")
    (part,) = tmp_path.rglob("*.incomplete")
    kept = part.stat().st_size
    assert kept >= _SIZE // 5
    hub.faults.slow = 0
    with ServerProcess(tmp_path) as server:
        _, download = server.request("POST", "/api/v2/downloads", {"model": f"{_REPO}:Q8_0"})
        assert download["bytes_done"] == kept
        until(lambda: _show(server, download)["state"] == "completed", "the download")
        model_id = _show(server, download)["model_id"]
        assert server.get(f"/api/v2/models/{model_id}")["size"] == _SIZE
    assert hub.files_asked()[-1].headers["range"] == f"bytes={kept}-"
    (link,) = (tmp_path / "cache").rglob(_Q8)
    assert hashlib.sha256(link.read_bytes()).hexdigest() == hub.repos[_REPO].files[_Q8].sha256


def test_a_second_server_takes_over_the_download_of_one_that_is_killed(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.faults.slow = 2 << 20
    folders = (tmp_path / "one", tmp_path / "other")
    for folder in folders:
        folder.mkdir()
    body = {"model": f"{_REPO}:Q8_0"}
    with ServerProcess(folders[0]) as one, ServerProcess(folders[1]) as other:
        _, first = one.request("POST", "/api/v2/downloads", body)
        _until_bytes(one, first, _SIZE // 8)
        _, second = other.request("POST", "/api/v2/downloads", body)
        _until_bytes(other, second, _SIZE // 4)
        assert len(hub.files_asked()) == 1
        one.signal(signal.SIGKILL)
        one.wait()
        hub.faults.slow = 0
        until(lambda: _show(other, second)["state"] == "completed", "the other's download")
    first_asked, second_asked = hub.files_asked()
    assert "range" not in first_asked.headers
    assert int(second_asked.headers["range"][6:-1]) >= _SIZE // 4


def test_a_signal_ends_downloads_at_once_and_keeps_their_parts(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.faults.slow = 1 << 20
    with ServerProcess(tmp_path) as server:
        _, download = server.request("POST", "/api/v2/downloads", {"model": f"{_REPO}:Q8_0"})
        _until_bytes(server, download, 1)
        children = _children(server)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert all(is_gone(pid) for pid in children)
    assert len(list(tmp_path.rglob("*.incomplete"))) == 1
    log = server.log.read_text()
    assert "Traceback" not in log
    assert _TOKEN not in log


def test_the_token_is_not_in_the_list_of_processes(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.slow = 1 << 20
    with ServerProcess(tmp_path) as server:
        _, download = server.request("POST", "/api/v2/downloads", {"model": f"{_REPO}:Q8_0"})
        _until_bytes(server, download, 1)
        processes = [psutil.Process(pid) for pid in (server.process.pid, *_children(server))]
        assert len(processes) >= 2
        assert not any(_TOKEN in word for one in processes for word in one.cmdline())
        assert _TOKEN not in str(server.get("/api/v2/downloads"))
    assert {one.token for one in hub.requests} == {_TOKEN}


def test_a_model_of_the_hub_is_downloaded_at_the_start_and_served_alone(
    hub: FakeHub, tmp_path: Path
) -> None:
    name = f"{_REPO}:Q4_K_M"
    with ServerProcess(tmp_path, "-hf", _REPO) as server:
        body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
        answer = server.post("/v1/chat/completions", body)
        assert answer["choices"][0]["message"]["content"]
        assert [model["id"] for model in server.get("/v1/models")["data"]] == [name]
    asked = len(hub.requests)
    with ServerProcess(tmp_path, "-hf", name, "--offline") as server:
        assert [model["id"] for model in server.get("/v1/models")["data"]] == [name]
    assert len(hub.requests) == asked
    hub.faults.refuse = True
    with ServerProcess(tmp_path, "-hf", f"{_REPO}:q4_k_m") as server:
        assert server.get("/v1/models")["data"]
    assert "the model in the cache is used" in server.log.read_text()


def test_ollamas_own_client_pulls_shows_and_deletes(hub: FakeHub, tmp_path: Path) -> None:
    name = f"hf.co/{_REPO}:Q4_K_M"
    with (
        ServerProcess(tmp_path) as server,
        ollama.Client(host=f"http://127.0.0.1:{server.port}") as client,
    ):
        steps = list(client.pull(name, stream=True))
        assert (steps[0].status, steps[-1].status) == ("pulling manifest", "success")
        size = TINY_MODEL.stat().st_size
        assert {step.total for step in steps if step.digest} == {size}
        assert client.pull(name).status == "success"
        assert client.show(name).details is not None
        assert client.delete(name).status == "success"
        with pytest.raises(ollama.ResponseError, match="not found"):
            client.delete(name)
        with pytest.raises(ollama.ResponseError, match="does not exist"):
            client.pull("fake/none")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-hf", "fake/none"), ("fake/none", "does not exist")),
        (("-hf", f"{_REPO}:Q2_K"), ("Q2_K", _Q4)),
        (("-hf", _REPO, "--offline"), (_REPO, "offline")),
    ],
)
def test_a_start_without_the_model_fails_with_one_sentence(
    hub: FakeHub, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    command = [sys.executable, "-m", "server", "--port", "0", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert all(word in ended.stderr for word in words), ended.stderr
    assert "Traceback" not in ended.stderr
    assert _TOKEN not in ended.stderr


def _show(server: ServerProcess, download: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = server.get(f"/api/v2/downloads/{download['id']}")
    return shown


def _until_bytes(server: ServerProcess, download: dict[str, Any], count: int) -> None:
    until(lambda: _show(server, download)["bytes_done"] >= count, f"{count} bytes")


def _children(server: ServerProcess) -> list[int]:
    """The processes that talk to the hub."""
    found = []
    for child in psutil.Process(server.process.pid).children():
        try:
            if "server.hub" in child.cmdline():
                found.append(child.pid)
        except psutil.NoSuchProcess:
            continue
    return found
