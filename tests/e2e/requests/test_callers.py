"""A client that fills a model's queue, or opens and closes many requests, locks out no other."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.support.server_process import TINY, ServerProcess, until

pytestmark = pytest.mark.e2e

_GREEDY = "127.0.0.2"  # this client's address; ServerProcess itself is the one of 127.0.0.1
_CHAT = f"/api/v2/chat/{TINY}"
_N_PARALLEL = 2
_MAX_QUEUE = 8
_MESSAGES = [{"role": "user", "content": "Tell me a story"}]
_ENDLESS = {"messages": _MESSAGES, "ignore_eos": True, "n_predict": 30_000}
_SHORT = {"messages": _MESSAGES, "n_predict": 2}
_N_THREADS = 4
_N_CLOSED = 500


@contextmanager
def _server(folder: Path) -> Iterator[ServerProcess]:
    with ServerProcess(folder, "--max-queue", str(_MAX_QUEUE)) as server:
        settings = {"n_ctx": 32_768, "threads": 1, "n_parallel": _N_PARALLEL}
        server.post(f"/api/v2/models/{TINY}/load", settings)
        yield server


def _send(server: ServerProcess, body: object) -> socket.socket:
    """Send a chat as the greedy client; its connection."""
    data = json.dumps(body).encode()
    head = f"POST {_CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    client = socket.create_connection(
        ("127.0.0.1", server.port), timeout=100, source_address=(_GREEDY, 0)
    )
    client.sendall(head.encode() + data)
    return client


def _n_in_progress(server: ServerProcess) -> int:
    return int(server.metrics().sum("llamabind_requests_in_progress"))


def _n_refused(server: ServerProcess) -> int:
    return int(server.metrics().sum("llamabind_requests_refused_total"))


def test_a_full_queue_of_one_client_has_a_place_for_another(tmp_path: Path) -> None:
    with _server(tmp_path) as server, ExitStack() as stack:
        n_sent = 3 * _MAX_QUEUE
        greedy = [stack.enter_context(closing(_send(server, _ENDLESS))) for _ in range(n_sent)]
        until(lambda: _n_refused(server) == n_sent - _N_PARALLEL - _MAX_QUEUE, "the queue is full")
        assert _n_in_progress(server) == _N_PARALLEL + _MAX_QUEUE
        with server.send_only(_CHAT, _SHORT):
            until(
                lambda: _n_in_progress(server) == _N_PARALLEL + _MAX_QUEUE + 1,
                "the other client waits in the queue",
            )
        until(lambda: _n_in_progress(server) == _N_PARALLEL + _MAX_QUEUE, "it has left the queue")
        n_refused = _n_refused(server)
        for client in greedy:
            client.close()
        assert server.post(_CHAT, _SHORT)["choices"]
        until(lambda: _n_in_progress(server) == 0, "closed requests have left the queue")
        assert _n_refused(server) == n_refused


def test_requests_that_are_opened_and_closed_at_once_lock_out_no_other_caller(
    tmp_path: Path,
) -> None:
    with _server(tmp_path) as server:

        def attack() -> None:
            for _ in range(_N_CLOSED):
                _send(server, _ENDLESS).close()

        threads = [threading.Thread(target=attack) for _ in range(_N_THREADS)]
        for thread in threads:
            thread.start()
        n_answered = 0
        while any(thread.is_alive() for thread in threads) or n_answered < 2:
            assert server.post(_CHAT, _SHORT)["choices"]
            n_answered += 1
        until(lambda: _n_in_progress(server) == 0, "closed requests have left the queue")
        assert server.get("/live") == {"status": "ok"}
