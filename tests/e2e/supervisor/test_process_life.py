"""Workers and clients when processes die, clients disconnect and the server stops."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.support.server_process import TINY, ServerProcess, all_events, is_gone, next_event, until

pytestmark = pytest.mark.e2e

_CHAT = f"/api/v2/chat/{TINY}"
_STREAM = f"{_CHAT}/stream"
# Too long to end by itself during a test.
_ENDLESS = {
    "messages": [{"role": "user", "content": "Tell me a story"}],
    "ignore_eos": True,
    "n_predict": 30_000,
}
_SHORT = {"messages": [{"role": "user", "content": "Hello"}], "n_predict": 4}


@pytest.fixture(autouse=True)
def hangups_end_a_process() -> Iterator[None]:
    """The default, which servers inherit from pytest; under nohup they would ignore hangups."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def _load(server: ServerProcess) -> int:
    """Load the bundled model with a long context; returns the worker's process id."""
    server.post(f"/api/v2/models/{TINY}/load", {"n_ctx": 32_768, "threads": 1})
    return int(server.engine()["pid"])


def _stop_estimated_worker(server: ServerProcess) -> int:
    """Estimate a load and stop the process that waits to go on with it; returns its id.

    A load after that never ends. One that may end can take less time than a look at its status.
    """
    server.post(f"/api/v2/models/{TINY}/estimate", {})
    (worker,) = server.workers()
    psutil.Process(worker).suspend()
    return worker


def test_sigkill_of_the_worker_ends_a_stream_with_an_error(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        worker = _load(server)
        with server.open(_STREAM, _ENDLESS) as response:
            assert next_event(response)["choices"][0]["delta"]["role"] == "assistant"
            os.kill(worker, signal.SIGKILL)
            last = all_events(response)[-1]
        assert last["error"]["code"] == "worker_crashed"
        assert "SIGKILL" in last["error"]["message"]
        health = server.get("/api/v2/health")
        assert health["status"] == "healthy"
        assert TINY in health["last_error"]
        assert server.get(f"/api/v2/models/{TINY}")["status"] == "failed"
        assert server.post(_CHAT, _SHORT)["choices"][0]["message"]["role"] == "assistant"
        assert server.engine()["pid"] != worker


@pytest.mark.parametrize("path", [_CHAT, _STREAM])
def test_a_client_that_disconnects_frees_its_sequence(tmp_path: Path, path: str) -> None:
    with ServerProcess(tmp_path) as server:
        _load(server)
        with server.send_only(path, _ENDLESS):
            until(lambda: server.engine()["running"] == 1, "the request runs")
        until(lambda: server.engine()["running"] == 0, "the sequence is free")
        performance = server.get(f"/api/v2/models/{TINY}")["performance"]
        assert performance["tokens_processed"] < 30_000


def test_sigterm_exits_0_and_leaves_no_worker(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        worker = _load(server)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert is_gone(worker)


def test_ctrl_c_in_a_terminal_finishes_the_running_answer_and_exits_0(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        worker = _load(server)
        with server.open(_STREAM, _ENDLESS | {"n_predict": 400}) as response:
            next_event(response)
            server.signal(signal.SIGINT, group=True)
            assert all_events(response)[-1] == "[DONE]"
        assert server.wait() == 0
        assert is_gone(worker)


def test_an_answer_longer_than_the_drain_limit_is_cut(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--drain-seconds", "0.2") as server:
        worker = _load(server)
        with server.open(_STREAM, _ENDLESS) as response:
            next_event(response)
            server.signal(signal.SIGTERM)
            assert all_events(response)[-1]["error"]["code"] == "model_unloaded"
        assert server.wait() == 0
        assert is_gone(worker)


@pytest.mark.parametrize("is_busy", [False, True])
def test_sigkill_of_the_server_ends_its_worker(tmp_path: Path, is_busy: bool) -> None:
    with ServerProcess(tmp_path) as server:
        worker = _load(server)
        if is_busy:
            with server.send_only(_STREAM, _ENDLESS):
                until(lambda: server.engine()["running"] == 1, "the request runs")
                server.signal(signal.SIGKILL)
        else:
            server.signal(signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
        until(lambda: is_gone(worker), "the worker has ended")


def test_sigterm_during_a_load_answers_waiting_requests_with_503_and_exits_0(
    tmp_path: Path,
) -> None:
    with ServerProcess(tmp_path) as server, ThreadPoolExecutor() as pool:
        worker = _stop_estimated_worker(server)
        load = pool.submit(server.request, "POST", f"/api/v2/models/{TINY}/load", {})
        until(lambda: server.get(f"/api/v2/models/{TINY}")["status"] == "loading", "the load waits")
        chat = pool.submit(server.request, "POST", _CHAT, _SHORT)
        name = "llamabind_requests_in_progress"
        until(lambda: server.metrics().sum(name) == 1, "the chat waits")
        server.signal(signal.SIGTERM)
        for answer in (load, chat):
            status, document = answer.result()
            assert status == 503, document
            assert "shutting down" in document["error"]["message"]
        assert server.wait() == 0
        assert is_gone(worker)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_second_signal_ends_server_and_worker_at_once(
    tmp_path: Path, number: signal.Signals
) -> None:
    with ServerProcess(tmp_path) as server:
        worker = _load(server)
        with server.open(_STREAM, _ENDLESS) as response:
            next_event(response)
            server.signal(number)
            until(lambda: server.request("GET", "/ready")[0] == 503, "the server is shutting down")
            server.signal(number)
            assert server.wait() == 128 + number
        until(lambda: is_gone(worker), "the worker has ended")


def test_sigkill_of_the_server_during_a_load_ends_its_worker(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        worker = _stop_estimated_worker(server)
        with server.send_only(f"/api/v2/models/{TINY}/load", {}):
            until(
                lambda: server.get(f"/api/v2/models/{TINY}")["status"] == "loading",
                "the load waits",
            )
            server.signal(signal.SIGKILL)
        os.kill(worker, signal.SIGCONT)
        assert server.wait() == -signal.SIGKILL
        until(lambda: is_gone(worker), "the worker has ended")


def test_a_stopped_worker_does_not_delay_the_shutdown(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        worker = _load(server)
        os.kill(worker, signal.SIGSTOP)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert is_gone(worker)


def test_a_stopped_worker_is_replaced_when_a_request_waits(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--stall-seconds", "2") as server:
        worker = _load(server)
        with server.open(_STREAM, _ENDLESS) as response:
            next_event(response)
            os.kill(worker, signal.SIGSTOP)
            # Without output yet, this request goes on in the new worker.
            assert server.post(_CHAT, _SHORT)["choices"][0]["message"]["role"] == "assistant"
            last = all_events(response)[-1]
        assert last["error"]["code"] == "worker_crashed"
        assert "sent no report for 2 s" in last["error"]["message"]
        assert server.engine()["pid"] != worker
        assert is_gone(worker)


def test_a_stopped_worker_stays_while_no_request_waits(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--stall-seconds", "5") as server:
        worker = _load(server)
        os.kill(worker, signal.SIGSTOP)
        until(lambda: server.get("/health")["models"][TINY]["stalled"], "the model is stalled")
        os.kill(worker, signal.SIGCONT)
        assert server.post(_CHAT, _SHORT)["choices"][0]["message"]["role"] == "assistant"
        assert server.engine()["pid"] == worker


def test_a_server_that_was_stopped_with_its_worker_keeps_the_worker(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--stall-seconds", "2") as server:
        worker = _load(server)
        with server.open(_STREAM, _ENDLESS | {"n_predict": 400}) as response:
            next_event(response)
            server.signal(signal.SIGSTOP, group=True)
            time.sleep(4)  # longer than --stall-seconds
            server.signal(signal.SIGCONT, group=True)
            assert all_events(response)[-1] == "[DONE]"
        assert server.engine()["pid"] == worker


@pytest.mark.parametrize("group", [False, True])
def test_sighup_finishes_the_running_answer_and_exits_0(tmp_path: Path, group: bool) -> None:
    with ServerProcess(tmp_path) as server:
        worker = _load(server)
        with server.open(_STREAM, _ENDLESS | {"n_predict": 400}) as response:
            next_event(response)
            server.signal(signal.SIGHUP, group=group)
            assert all_events(response)[-1] == "[DONE]"
        assert server.wait() == 0
        assert is_gone(worker)


def test_with_nohup_the_server_outlives_its_terminal(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, prefix=("nohup",)) as server:
        server.signal(signal.SIGHUP, group=True)
        assert server.get("/ready")["status"] == "ready"
