"""A model whose layers are on two RPC servers of this machine."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.rpc_servers import RpcServerProcess
from tests.support.server_process import TINY, ServerProcess, all_events, next_event, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

_CHAT = f"/api/v2/chat/{TINY}"
_GREEDY = {
    "messages": [{"role": "user", "content": "Tell me about Paris."}],
    "temperature": 0,
    "n_predict": 24,
}
_ENDLESS = _GREEDY | {"ignore_eos": True, "n_predict": 30_000}
# A context that lasts for the endless answer, and as little work as possible beside it.
_LOAD = {"n_ctx": 32_768, "threads": 1}


@pytest.fixture
def remotes() -> Iterator[tuple[RpcServerProcess, RpcServerProcess]]:
    with RpcServerProcess() as first, RpcServerProcess(port=free_port()) as second:
        yield first, second


def _rpc(*servers: RpcServerProcess) -> tuple[str, str]:
    return "--rpc", ",".join(server.address for server in servers)


def _text(server: ServerProcess, body: dict[str, Any]) -> str:
    return str(server.post(_CHAT, body)["choices"][0]["message"]["content"])


def _devices(memory: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {device["device"]: device for device in memory}


def test_a_split_model_answers_as_a_local_one_and_16_clients_at_once(
    tmp_path: Path, remotes: tuple[RpcServerProcess, RpcServerProcess]
) -> None:
    with ServerProcess(tmp_path) as server:
        server.post(f"/api/v2/models/{TINY}/load", {"n_ctx": 4096, "threads": 1})
        local = _text(server, _GREEDY)
    with ServerProcess(tmp_path, *_rpc(*remotes)) as server:
        estimate = server.post(f"/api/v2/models/{TINY}/estimate", {"n_ctx": 4096})
        estimated = _devices(estimate["memory"])
        loaded = server.post(f"/api/v2/models/{TINY}/load", {"n_ctx": 4096, "threads": 1})
        assert _text(server, _GREEDY) == local
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: _text(server, _GREEDY), range(16)))
        again = server.post(f"/api/v2/models/{TINY}/estimate", {"n_ctx": 4096})
    assert answers == [local] * 16
    used = _devices(loaded["memory"])
    for name in ("RPC0", "RPC1"):
        assert used[name]["model_bytes"] > 0, used
        assert estimated[name]["free_bytes"] > 0, estimated
    assert loaded["settings"]["effective"]["cache_ram"] == 0
    assert any(warning.startswith("cache_ram:") for warning in loaded["warnings"])
    # The servers answer while the model is loaded.
    assert _devices(again["memory"])["RPC1"]["free_bytes"] > 0
    assert remotes[0].process.poll() is None


def test_a_killed_server_ends_the_stream_and_the_model_comes_back_with_it(
    tmp_path: Path, remotes: tuple[RpcServerProcess, RpcServerProcess]
) -> None:
    with ServerProcess(tmp_path, *_rpc(*remotes)) as server:
        server.post(f"/api/v2/models/{TINY}/load", _LOAD)
        with server.open(f"{_CHAT}/stream", _ENDLESS) as response:
            next_event(response)
            remotes[1].kill()
            last = all_events(response)[-1]
        assert last["error"]["code"] == "rpc_server_lost", last
        failure = server.get("/api/v2/health")["last_error"]
        assert "rpc_server_lost" in str(failure), failure
        status, error, headers = server.refused(_CHAT, _GREEDY)
        assert (status, error["code"]) == (503, "rpc_server_lost"), error
        assert remotes[1].address in error["message"]
        assert int(headers["Retry-After"]) > 0
        with RpcServerProcess(port=remotes[1].port):
            assert _text(server, _GREEDY)
    assert remotes[0].process.poll() is None


def test_waiting_requests_get_a_503_and_the_server_stays(
    tmp_path: Path, remotes: tuple[RpcServerProcess, RpcServerProcess]
) -> None:
    with ServerProcess(tmp_path, *_rpc(*remotes)) as server:
        server.post(f"/api/v2/models/{TINY}/load", _LOAD | {"n_parallel": 1})
        with (
            server.open(f"{_CHAT}/stream", _ENDLESS) as response,
            ThreadPoolExecutor(3) as pool,
        ):
            next_event(response)
            waiting = [pool.submit(server.refused, _CHAT, _GREEDY) for _ in range(3)]
            until(lambda: server.engine()["waiting"] == 3, "three requests wait")
            remotes[0].kill()
            answers = [future.result(60) for future in waiting]
            all_events(response)
        for status, error, headers in answers:
            assert (status, error["code"]) == (503, "rpc_server_lost"), error
            assert "Retry-After" in headers
        assert server.get("/api/v2/health")["status"]


def test_a_model_kept_on_the_cpu_needs_no_rpc_server(
    tmp_path: Path, remotes: tuple[RpcServerProcess, RpcServerProcess]
) -> None:
    with ServerProcess(tmp_path, *_rpc(*remotes)) as server:
        for remote in remotes:
            remote.kill()
        loaded = server.post(
            f"/api/v2/models/{TINY}/load", {"n_ctx": 1024, "threads": 1, "n_gpu_layers": 0}
        )
        assert set(_devices(loaded["memory"])) == {"CPU"}
        assert _text(server, _GREEDY)


def test_metrics_list_each_remote_device_and_a_request_can_name_none(
    tmp_path: Path, remotes: tuple[RpcServerProcess, RpcServerProcess]
) -> None:
    with ServerProcess(tmp_path, *_rpc(*remotes)) as server:
        status, error, _ = server.refused(
            f"/api/v2/models/{TINY}/load", {"rpc": [remotes[0].address]}
        )
        assert (status, "rpc" in error["message"]) == (400, True), error
        until(lambda: bool(_remote(server)), "the RPC servers were asked")
        first, second = _remote(server)
        assert (first["name"], first["server"], first["status"]) == (
            "RPC0",
            remotes[0].address,
            "ok",
        )
        assert second["memory"]["total_mb"] > 0
        figures = server.metrics()
        labels = {"device": "RPC1", "server": remotes[1].address}
        assert figures.sum("llamabind_rpc_device_up", **labels) == 1
        assert figures.sum("llamabind_rpc_device_memory_free_bytes", **labels) > 0


def _remote(server: ServerProcess) -> list[dict[str, Any]]:
    return list(server.get("/api/v2/metrics")["rpc_devices"])


def test_a_dead_address_ends_the_start_with_a_sentence_in_time(tmp_path: Path) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [*_SERVE, "--models-dir", str(tmp_path), "--rpc", "127.0.0.1:1"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        "--rpc: the RPC server at 127.0.0.1:1 does not answer: Connection refused"
    )
    assert time.monotonic() - began < 30


def test_a_server_that_does_not_answer_is_a_503_in_time(tmp_path: Path) -> None:
    with RpcServerProcess() as remote:
        with ServerProcess(tmp_path, *_rpc(remote), "--load-timeout", "30") as server:
            remote.suspend()
            status, error, headers = server.refused(f"/api/v2/models/{TINY}/load", {})
        remote.kill()
    assert (status, error["code"]) == (503, "rpc_server_busy"), error
    assert remote.address in error["message"]
    assert "within 5 s" in error["message"]
    assert "Retry-After" in headers


_SERVE = (sys.executable, "-m", "server", "--port", "0")
