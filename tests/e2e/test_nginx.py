"""Two servers behind nginx, with the configuration of docs/scaling/nginx.conf.

nginx is Debian's package; without it these tests are skipped, and .ci/run installs it.
"""

import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.server_process import TINY, ServerProcess, all_events, next_event, until

pytestmark = pytest.mark.e2e

_CONFIG = ROOT / "docs" / "scaling" / "nginx.conf"
_CHAT = "/v1/chat/completions"
_LONG: dict[str, Any] = {"ignore_eos": True, "max_tokens": 30_000, "stream": True}


@dataclass
class _Balanced:
    port: int
    servers: list[ServerProcess]

    @contextmanager
    def request(self, session: str, **more: Any) -> Iterator[http.client.HTTPResponse]:
        """Send a chat of a session; leaving closes the connection."""
        with (
            self.send_only(session, **more) as connection,
            closing(connection.getresponse()) as response,
        ):
            yield response

    @contextmanager
    def send_only(self, session: str, **more: Any) -> Iterator[http.client.HTTPConnection]:
        """Send a chat without waiting for its answer."""
        body = {"model": TINY, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json", "X-Session-Id": session}
        with closing(connection):
            connection.request("POST", _CHAT, json.dumps(body | more), headers)
            yield connection

    def received(self) -> list[float]:
        """The number of requests that each server has received."""
        name = "llamabind_requests_received_total"
        return [server.metrics().sum(name) for server in self.servers]

    def home_of(self, session: str) -> int:
        """The index of the session's server."""
        before = self.received()
        with self.request(session) as response:
            assert response.status == 200, response.read()
            response.read()
        after = self.received()
        [home] = [index for index, counts in enumerate(zip(before, after, strict=True))
                  if counts[0] != counts[1]]  # fmt: skip
        return home


def _nginx() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if found is None:
        pytest.skip("needs nginx (Debian and Ubuntu: apt install nginx)")
    return found


@pytest.fixture
def balanced(tmp_path: Path) -> Iterator[_Balanced]:
    nginx = _nginx()
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    flags = ("--threads", "1", "--parallel", "1", "--max-queue", "1", "--ctx-size", "32768")
    with ServerProcess(folders[0], *flags) as one, ServerProcess(folders[1], *flags) as two:
        for server in (one, two):
            server.post(f"/api/v2/models/{TINY}/load")
        port = free_port()
        text = _CONFIG.read_text()
        for written, ours in ((8081, one.port), (8082, two.port), (8080, port)):
            text, n = re.subn(rf"127\.0\.0\.1:{written}\b", f"127.0.0.1:{ours}", text)
            assert n == 1, f"{_CONFIG} names port {written} once"
        (tmp_path / "site.conf").write_text(text)
        main = tmp_path / "nginx.conf"
        main.write_text(
            f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;\n"
            f"worker_processes 1; events {{}}\nhttp {{ access_log off;\n"
            + "".join(
                f"{kind}_temp_path {tmp_path}/{kind};\n"
                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            + f"include {tmp_path}/site.conf; }}\n"
        )
        process = subprocess.Popen([nginx, "-c", str(main), "-p", str(tmp_path)],
                                   stderr=subprocess.PIPE, text=True)  # fmt: skip
        try:
            until(lambda: _listens(port, process), "nginx listens")
            yield _Balanced(port, [one, two])
        finally:
            process.terminate()
            process.wait(60)
            assert process.stderr is not None
            process.stderr.close()


def _listens(port: int, process: "subprocess.Popen[str]") -> bool:
    assert process.poll() is None, process.stderr and process.stderr.read()
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_sessions_streams_disconnects_full_queues_and_a_lost_server(balanced: _Balanced) -> None:
    # A session stays with its server, and both servers have sessions.
    homes = {f"s{index}": balanced.home_of(f"s{index}") for index in range(12)}
    assert set(homes.values()) == {0, 1}
    assert {session: balanced.home_of(session) for session in homes} == homes
    session = next(name for name, home in homes.items() if home == 0)
    server = balanced.servers[0]

    # Events arrive one by one: the first one long before the last one is computed.
    with balanced.request(session, **_LONG) as response:
        assert response.headers.get_content_type() == "text/event-stream"
        assert next_event(response)["object"] == "chat.completion.chunk"
        assert server.engine()["running"] == 1

        # A full server's 429 and Retry-After reach the client, and no other server is asked.
        with balanced.send_only(session, **_LONG):
            until(lambda: server.engine()["waiting"] == 1, "the second request waits")
            before = balanced.received()[1]
            with balanced.request(session) as refused:
                assert refused.status == 429
                assert int(refused.headers["Retry-After"]) >= 1
            assert balanced.received()[1] == before
    # Both clients have disconnected: nginx closes its connections, and the slots are free again.
    until(lambda: server.engine()["running"] == 0, "the engine is idle")

    # A server that is gone hands its sessions to the other one, without an error for the client.
    server.signal(signal.SIGKILL, group=True)
    server.wait()
    for _ in range(3):
        with balanced.request(session, stream=True) as answer:
            assert answer.status == 200
            assert all_events(answer)[-1] == "[DONE]"
