"""A server with /api/v2/downloads and nothing else, whose downloads go as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_ID = "dl-1"


class FakeDownloads:
    """Set `states` (of the stream) and `refusal` before a request; `requests` has all that came."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []
        self.refusal: tuple[int, dict[str, Any]] | None = None
        # Keeps the stream open after its last state, as that of a slow download.
        self.is_slow = False
        self.requests: list[tuple[str, str, Any]] = []
        self.was_deleted = threading.Event()
        self.streams = threading.Event()
        self.url = ""


def download_state(**changes: Any) -> dict[str, Any]:
    """A Download that runs."""
    state = {
        "id": _ID,
        "model": "org/repo:Q4_K_M",
        "repo": "org/repo",
        "revision": "main",
        "files": [{"file": "m-Q4_K_M.gguf", "bytes": 1000, "bytes_done": 0}],
        "state": "running",
        "bytes_total": 1000,
        "bytes_done": 0,
        "bytes_per_second": 500.0,
        "eta_seconds": 2.0,
        "error": None,
        "model_id": None,
    }
    return state | changes


class _Handler(BaseHTTPRequestHandler):
    fake: FakeDownloads

    def do_GET(self) -> None:
        self._note(None)
        if self.path == "/live":
            self._reply(200, {"status": "ok"})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for state in self.fake.states:
            self.wfile.write(b": ping\n\ndata: %s\n\n" % json.dumps(state).encode())
            self.wfile.flush()
        self.fake.streams.set()
        if self.fake.is_slow:
            self.fake.was_deleted.wait(60)

    def do_POST(self) -> None:
        self._note(json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0)))))
        if self.fake.refusal:
            self._reply(*self.fake.refusal)
            return
        # As the server, which would answer with events.
        assert "text/event-stream" not in self.headers["Accept"]
        self._reply(202, download_state(state="queued", bytes_total=None))

    def do_DELETE(self) -> None:
        self._note(None)
        self.fake.was_deleted.set()
        self._reply(200, download_state(state="cancelled"))

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _note(self, body: Any) -> None:
        self.fake.requests.append((self.command, self.path, body))

    def _reply(self, status: int, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def fake_downloads() -> Iterator[FakeDownloads]:
    """Run the server on a free port."""
    fake = FakeDownloads()
    handler = type("Handler", (_Handler,), {"fake": fake})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        fake.was_deleted.set()
        server.shutdown()
        server.server_close()
        thread.join()
