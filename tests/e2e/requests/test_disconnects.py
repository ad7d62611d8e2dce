"""A client's disconnect cancels its request in every phase, streamed or not."""

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest

from tests.support.server_process import TINY, Figures, ServerProcess, next_event, until

pytestmark = pytest.mark.e2e

_CHAT = f"/api/v2/chat/{TINY}"
_PATHS = pytest.mark.parametrize("path", [_CHAT, f"{_CHAT}/stream"])
_ENDLESS = {
    "messages": [{"role": "user", "content": "Tell me a story"}],
    "ignore_eos": True,
    "n_predict": 30_000,
}
_CONTEXTS = itertools.count(30_208, 256)
# Takes some seconds to compute, longer than these tests wait.
_LONG_PROMPT = {"messages": [{"role": "user", "content": "a b c d " * 7_000}], "n_predict": 1}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("models")
    pings = ("--header-hold-seconds", "0.1", "--ping-seconds", "0.1")
    with ServerProcess(folder, *pings) as process:
        # Takes the worker that the server started ahead of need, so that later loads start theirs.
        _load(process)
        process.post(f"/api/v2/models/{TINY}/unload")
        until(lambda: not process.workers(), "the worker has ended")
        yield process


def _load(server: ServerProcess) -> None:
    """Load the model for one request at a time, with a long context."""
    settings = {"n_ctx": 32_768, "n_parallel": 1, "n_batch": 256, "threads": 1}
    server.post(f"/api/v2/models/{TINY}/load", settings)


def _is_cancelled(server: ServerProcess, before: Figures) -> bool:
    """Whether exactly one more request was cancelled since `before`, and none is in progress."""
    engine = server.engine()
    now = server.metrics()
    return (
        now.sum("llamabind_requests_total", outcome="cancelled")
        == before.sum("llamabind_requests_total", outcome="cancelled") + 1
        and engine["waiting"] == 0
    )


@contextmanager
def _frozen_load(server: ServerProcess) -> Iterator[None]:
    """Begin to load the model, with its process stopped by SIGSTOP while the block runs.

    The process has estimated the load before: one that begins with it may have ended by the time
    that a test finds it. No context has been estimated before, so that there is such a process.
    """
    known = server.workers()
    settings = {"threads": 1, "n_ctx": next(_CONTEXTS)}
    server.post(f"/api/v2/models/{TINY}/estimate", settings)
    (worker,) = server.workers() - known
    os.kill(worker, signal.SIGSTOP)
    with server.send_only(f"/api/v2/models/{TINY}/load", settings):
        until(lambda: _status(server) == "loading", "the load waits")
        try:
            yield
        finally:
            os.kill(worker, signal.SIGCONT)
        until(lambda: _status(server) == "loaded", "the model is loaded")


def _status(server: ServerProcess) -> str:
    return str(server.get(f"/api/v2/models/{TINY}")["status"])


@_PATHS
def test_a_disconnect_during_the_load_cancels_the_request(server: ServerProcess, path: str) -> None:
    if _status(server) == "loaded":
        server.post(f"/api/v2/models/{TINY}/unload")
    before = server.metrics()
    with _frozen_load(server):
        with server.send_only(path, _ENDLESS):
            until(
                lambda: server.metrics().sum("llamabind_requests_in_progress") == 1,
                "the request is in progress",
            )
        until(
            lambda: server.metrics().sum("llamabind_requests_in_progress") == 0,
            "no request is in progress",
        )
    until(lambda: _is_cancelled(server, before), "one request was cancelled")
    assert server.engine()["running"] == 0
    generated = "llamabind_generated_tokens_total"
    assert server.metrics().sum(generated) == before.sum(generated)


@_PATHS
def test_a_disconnect_in_the_queue_cancels_only_that_request(
    server: ServerProcess, path: str
) -> None:
    _load(server)
    before = server.metrics()
    with server.open(f"{_CHAT}/stream", _ENDLESS) as first:
        next_event(first)
        with server.send_only(path, _ENDLESS):
            until(lambda: server.engine()["waiting"] == 1, "the request waits")
        until(lambda: _is_cancelled(server, before), "the waiting request was cancelled")
        assert server.engine()["running"] == 1, "the other request keeps running"
        assert next_event(first) is not None
    until(lambda: server.engine()["running"] == 0, "no sequence runs")


@_PATHS
def test_a_disconnect_during_prefill_cancels_the_request(server: ServerProcess, path: str) -> None:
    _load(server)
    before = server.metrics()
    with server.send_only(path, _LONG_PROMPT):
        until(lambda: server.engine()["running"] == 1, "the prompt is being computed")
    until(lambda: server.engine()["running"] == 0, "no sequence runs")
    until(lambda: _is_cancelled(server, before), "one request was cancelled")
    prompts = "llamabind_prompt_tokens_total"
    assert server.metrics().sum(prompts) == before.sum(prompts), "the prompt was not completed"


@_PATHS
def test_a_disconnect_during_the_answer_cancels_the_request(
    server: ServerProcess, path: str
) -> None:
    _load(server)
    before = server.metrics()
    generated = "llamabind_generated_tokens_total"
    with server.send_only(path, _ENDLESS):
        until(
            lambda: server.metrics().sum(generated) > before.sum(generated), "the answer has begun"
        )
    until(lambda: server.engine()["running"] == 0, "no sequence runs")
    until(lambda: _is_cancelled(server, before), "one request was cancelled")


@pytest.mark.parametrize("phase", ["loading", "queued", "prompt"])
def test_a_stream_without_output_gets_keep_alive_comments(
    server: ServerProcess, phase: str
) -> None:
    if _status(server) == "loaded":
        server.post(f"/api/v2/models/{TINY}/unload")
    stream = f"{_CHAT}/stream"
    if phase == "loading":
        with _frozen_load(server), server.open(stream, _ENDLESS) as response:
            assert [response.readline() for _ in range(4)] == [b":\n", b"\n"] * 2
        return
    _load(server)
    behind = server.open(stream, _ENDLESS) if phase == "queued" else nullcontext()
    with behind:
        body = _ENDLESS if phase == "queued" else _LONG_PROMPT
        with server.open(stream, body) as response:
            assert response.readline() == b":\n"
    until(lambda: server.engine()["running"] == 0, "no sequence runs")
