"""A server started as a user starts it, and a minimal HTTP client."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from prometheus_client.parser import text_string_to_metric_families

from llamabind.system.closing import Closing
from tests.support.paths import ROOT

TINY = "tiny-chat.gguf"
_POLL_SECONDS = 0.01
_DEADLINE_SECONDS = 60.0


class Figures:
    """The samples of one GET /metrics."""

    def __init__(self, text: str) -> None:
        families = text_string_to_metric_families(text)
        self._samples = [sample for family in families for sample in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels; 0 without any."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


class ServerProcess(Closing):
    """`python -m server` on a free port, in a process group of its own.

    `prefix` is a command that runs the server, such as a shell that sets limits first; `stderr` is
    a descriptor that gets the log in place of the file `log`. Models compute with one thread unless
    a test asks for more: several wait for each other by polling, which beside other tests takes
    many times the CPU time.
    """

    def __init__(
        self, folder: Path, *arguments: str, prefix: Sequence[str] = (), stderr: int | None = None
    ) -> None:
        self.log = folder / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *prefix,
                    sys.executable,
                    *("-m", "server", "--port", "0", "--models-dir", str(folder)),
                    *("--threads", "1"),
                    *arguments,
                ],
                stdout=subprocess.PIPE,
                stderr=log if stderr is None else stderr,
                text=True,
                cwd=ROOT,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        # The server prints one line when it is ready; if it exits instead, the start has failed.
        line = self.process.stdout.readline()
        assert "http://" in line, self.log.read_text()
        self.port = int(line.split("http://")[1].split()[0].rsplit(":", 1)[1])

    def close(self) -> None:
        """End the server; kill it if that takes too long."""
        if self.process.poll() is None:
            self.process.terminate()
        assert self.process.stdout is not None
        self.process.stdout.close()
        try:
            self.process.wait(_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            # A process that stays would fail tests that follow.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send one request; the status and the JSON of the answer. Bytes are sent as they are."""
        with closing(self._connect()) as connection:
            connection.request(method, path, body=_encode(body))
            response = connection.getresponse()
            assert response.headers.get_content_type() == "application/json"
            return response.status, json.loads(response.read())

    def refused(self, path: str, body: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
        """POST what the server refuses: the status, the error object and the headers."""
        with closing(self._connect()) as connection:
            connection.request("POST", path, body=_encode(body))
            response = connection.getresponse()
            return response.status, json.loads(response.read())["error"], dict(response.headers)

    def get(self, path: str) -> Any:
        """GET a path; the request must succeed."""
        status, document = self.request("GET", path)
        assert status == 200, document
        return document

    def post(self, path: str, body: Any = None) -> Any:
        """POST to a path; the request must succeed."""
        status, document = self.request("POST", path, body)
        assert status == 200, document
        return document

    def post_headers(self, path: str, body: Any) -> dict[str, str]:
        """The headers of the answer to a POST that must succeed."""
        with closing(self._connect()) as connection:
            connection.request("POST", path, body=_encode(body))
            response = connection.getresponse()
            assert response.status == 200, response.read()
            return dict(response.headers)

    def workers(self) -> set[int]:
        """The ids of the worker processes. A child is a copy of the server at first, which waits
        for it to become a worker: stopped before that, it would stop the server.
        """
        found = set()
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                if "server.worker" in child.cmdline():
                    found.add(child.pid)
        return found

    def metrics(self) -> Figures:
        """GET /metrics."""
        with closing(self._connect()) as connection:
            connection.request("GET", "/metrics")
            return Figures(connection.getresponse().read().decode())

    @contextmanager
    def open(self, path: str, body: Any) -> Iterator[http.client.HTTPResponse]:
        """POST and read the response as it comes; leaving closes the connection at once."""
        with closing(self._connect()) as connection:
            connection.request("POST", path, body=_encode(body))
            response = connection.getresponse()
            assert response.status == 200, response.read()
            assert response.headers.get_content_type() == "text/event-stream"
            with closing(response):
                yield response

    @contextmanager
    def send_only(self, path: str, body: Any) -> Iterator[None]:
        """POST and do not wait for the answer; leaving closes the connection."""
        with closing(self._connect()) as connection:
            connection.request("POST", path, body=_encode(body))
            yield

    def engine(self) -> dict[str, Any]:
        """The engine's figures for the bundled model, which must be loaded."""
        figures: dict[str, Any] = self.get(f"/api/v2/models/{TINY}")["engine"]
        return figures

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Signal the server, or its whole group as a terminal does."""
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit status."""
        return self.process.wait(_DEADLINE_SECONDS)

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=_DEADLINE_SECONDS)


def next_event(response: http.client.HTTPResponse) -> Any:
    """The next event's data: a document, "[DONE]", or None at the end of the stream."""
    while line := response.readline():
        if line.startswith(b"data: "):
            data = line.removeprefix(b"data: ").strip()
            return "[DONE]" if data == b"[DONE]" else json.loads(data)
    return None


def all_events(response: http.client.HTTPResponse) -> list[Any]:
    """Every event up to the end of the stream."""
    return list(iter(lambda: next_event(response), None))


def until(condition: Callable[[], bool], what: str) -> None:
    """Poll until `condition` holds; a wait of seconds polls less often."""
    started_at = time.monotonic()
    while not condition():
        waited = time.monotonic() - started_at
        assert waited < _DEADLINE_SECONDS, f"not in time: {what}"
        time.sleep(min(max(_POLL_SECONDS, waited / 20), 5 * _POLL_SECONDS))


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _encode(body: Any) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return json.dumps(body).encode()
