"""Models that compete for memory, and workers that die, on a running server."""

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.paths import ROOT
from tests.support.server_process import TINY, ServerProcess, is_gone, until

pytestmark = pytest.mark.e2e

_COPY = "copy.gguf"
_BUNDLED = ROOT / "llamabind" / "models" / TINY
_SHORT = {"messages": [{"role": "user", "content": "Hello"}], "n_predict": 4}
_LOAD = {"n_ctx": 2048, "n_parallel": 1, "threads": 1, "cache_ram": 0}


def _host_bytes(server: ServerProcess, model_id: str) -> int:
    """The model's host memory in bytes, from the error of a server with too small a budget."""
    status, document = server.request("POST", f"/api/v2/models/{model_id}/load", _LOAD)
    assert status == 507, document
    return int(document["error"]["devices"][0]["needed_bytes"])


def _ask(server: ServerProcess, model_id: str) -> Any:
    return server.post(f"/api/v2/chat/{model_id}", _SHORT)


def test_two_models_of_which_one_fits_serve_alternating_requests(tmp_path: Path) -> None:
    shutil.copy(_BUNDLED, tmp_path / _COPY)
    with ServerProcess(tmp_path, "--memory-budget-mb", "1") as server:
        needed_mb = _host_bytes(server, TINY) >> 20
    settings = tmp_path / "models.toml"
    lines = [f"{name} = {value}" for name, value in _LOAD.items()]
    settings.write_text("\n".join(["[defaults]", *lines]))
    budget = str(needed_mb * 3 // 2 + 1)
    with ServerProcess(tmp_path, "--memory-budget-mb", budget, "--config", str(settings)) as server:
        for _ in range(3):
            for mine, other in ((TINY, _COPY), (_COPY, TINY)):
                answer = _ask(server, mine)
                assert answer["choices"][0]["message"]["role"] == "assistant"
                assert server.get(f"/api/v2/models/{mine}")["status"] == "loaded"
                assert server.get(f"/api/v2/models/{other}")["status"] == "unloaded"
        with ThreadPoolExecutor(6) as pool:
            names = [TINY, _COPY] * 3
            answers = list(pool.map(lambda name: _ask(server, name), names))
        assert [answer["model"] for answer in answers] == names
        assert server.get("/api/v2/health")["last_error"] is None


def test_a_chat_right_after_sigkill_of_an_idle_worker_is_answered(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        _ask(server, TINY)
        for _ in range(2):
            worker = int(server.engine()["pid"])
            os.kill(worker, signal.SIGKILL)
            assert _ask(server, TINY)["choices"][0]["message"]["role"] == "assistant"
            assert server.engine()["pid"] != worker


def test_sigkill_of_the_server_ends_a_stopped_worker(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        _ask(server, TINY)
        worker = int(server.engine()["pid"])
        os.kill(worker, signal.SIGSTOP)
        server.signal(signal.SIGKILL)
        server.wait()
        until(lambda: is_gone(worker), "the stopped worker has ended")


def test_a_models_directory_that_is_a_file_is_a_startup_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    ended = subprocess.run(
        [sys.executable, "-m", "server", "--models-dir", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode != 0
    assert "is a file" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads the limit from /proc")
def test_a_workers_memory_is_limited_to_what_was_free(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        _ask(server, TINY)
        limits = Path(f"/proc/{server.engine()['pid']}/limits").read_text().splitlines()
    [data] = [line.split() for line in limits if line.startswith("Max data size")]
    assert data[3] != "unlimited"
    assert int(data[3]) <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"n_ctx": 16_777_216}, None),
        ({"main_gpu": 5}, "main_gpu"),
        ({"chat_template": "{% if messages %}"}, "chat_template"),
        ({"lora": [{"path": TINY}]}, "lora[0]"),
        ({"draft_model": "broken.gguf"}, "draft_model"),
        ({"mmproj": TINY}, "mmproj"),
    ],
)
def test_a_refused_reload_keeps_the_loaded_model(
    tmp_path: Path, settings: dict[str, Any], param: str | None
) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and no more")
    with ServerProcess(tmp_path) as server:
        _ask(server, TINY)
        before = server.engine()["pid"]
        status, document = server.request("POST", f"/api/v2/models/{TINY}/load", settings)
        assert status == (400 if param else 507), document
        assert document["error"]["param"] == param
        assert server.get(f"/api/v2/models/{TINY}")["status"] == "loaded"
        assert server.engine()["pid"] == before
        assert server.get("/api/v2/health")["last_error"] is None
