"""A client that does not read pauses its own request; it costs others and the server little."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import psutil
import pytest

from tests.support.server_process import TINY, ServerProcess, until

pytestmark = pytest.mark.e2e

N_PREDICT = 600
N_PARALLEL = 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("models")) as process:
        settings = {"n_ctx": 4096, "n_parallel": N_PARALLEL, "threads": 1}
        process.post(f"/api/v2/models/{TINY}/load", settings)
        yield process


def wide_answer(seed: int) -> dict[str, Any]:
    """A stream of about 20 kB for each token: more than the sockets' buffers hold."""
    return {
        "model": TINY,
        "messages": [{"role": "user", "content": "Tell me a story"}],
        "stream": True,
        "seed": seed,
        "temperature": 1.0,
        "ignore_eos": True,
        "max_tokens": N_PREDICT,
        "logprobs": True,
        "top_logprobs": 256,
    }


def open_stream(server: ServerProcess, body: dict[str, Any]) -> socket.socket:
    """Send a request and read nothing."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(120)
    connection.connect(("127.0.0.1", server.port))
    raw = json.dumps(body).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    connection.sendall(head.encode() + raw)
    return connection


def tokens_of(connection: socket.socket) -> list[int]:
    """The tokens of a stream, read to its end."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    assert response.status == 200
    tokens = []
    for line in response:
        if line.startswith(b"data: {"):
            document = json.loads(line[6:])
            assert "error" not in document, document
            for choice in document["choices"]:
                entries = (choice.get("logprobs") or {}).get("content") or ()
                tokens += [entry["id"] for entry in entries]
    return tokens


def health(server: ServerProcess) -> dict[str, Any]:
    return server.get("/health")["models"][TINY]


def test_a_paused_request_leaves_its_place_and_continues_with_the_same_tokens(
    server: ServerProcess,
) -> None:
    with closing(open_stream(server, wide_answer(1))) as reader:
        undisturbed = tokens_of(reader)
    assert len(undisturbed) == N_PREDICT
    n_slow = 2 * N_PARALLEL
    with ExitStack() as stack:
        slow = [
            stack.enter_context(closing(open_stream(server, wide_answer(1)))) for _ in range(n_slow)
        ]
        until(lambda: health(server)["paused"] == n_slow, "all slow readers are paused")
        assert health(server)["running"] == 0
        # Each holds no place: there are fewer places than slow readers.
        chat = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
        assert server.post("/v1/chat/completions", {"model": TINY, **chat})["choices"]
        for connection in slow:
            assert tokens_of(connection) == undisturbed
    until(lambda: health(server)["paused"] == 0, "none is paused any more")


def test_slow_readers_together_cost_a_bounded_amount_of_memory(server: ServerProcess) -> None:
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    n_slow = 12
    with ExitStack() as stack:
        for seed in range(n_slow):
            stack.enter_context(closing(open_stream(server, wide_answer(seed))))
        until(lambda: health(server)["paused"] == n_slow, "all slow readers are paused")
        growth = process.memory_info().rss - before
    # Each has 256 kB of outputs and a step's, and 32 kB of them as JSON, ten times as large, in the
    # buffer of its connection: 0.7 MB, as measured.
    assert growth < n_slow * (3 << 19), f"{growth >> 20} MB"
    until(lambda: health(server)["paused"] == 0, "their requests are cancelled")


def test_an_answer_in_one_piece_that_grows_too_large_is_refused(server: ServerProcess) -> None:
    body = {**wide_answer(1), "stream": False, "n": 4}
    status, document = server.request("POST", "/v1/chat/completions", body)
    assert status == 400
    assert document["error"]["param"] == "logprobs"
    assert "8 MB" in document["error"]["message"]
    until(lambda: server.engine()["running"] == 0, "its answers are cancelled")


def test_a_small_answer_with_log_probabilities_is_complete(server: ServerProcess) -> None:
    body = {**wide_answer(1), "stream": False, "max_tokens": 20}
    answer = server.post("/v1/chat/completions", body)
    entries = answer["choices"][0]["logprobs"]["content"]
    assert [len(entry["top_logprobs"]) for entry in entries] == [256] * 20


def test_prompt_log_probabilities_beyond_the_limit_are_refused(server: ServerProcess) -> None:
    body = {"model": TINY, "prompt": "a b c d " * 900, "max_tokens": 0, "prompt_logprobs": 256}
    status, document = server.request("POST", "/v1/completions", body)
    assert (status, document["error"]["param"]) == (400, "prompt_logprobs")
