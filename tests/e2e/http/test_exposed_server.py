"""A server that is open to others: TLS, Unix sockets, keys from a file, signals."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.server_process import TINY, ServerProcess, is_gone, next_event, until

pytestmark = pytest.mark.e2e

_ENDLESS = {
    "messages": [{"role": "user", "content": "Tell me a story"}],
    "ignore_eos": True,
    "n_predict": 30_000,
}


def _start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "server", "--models-dir", str(folder), *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0


def _ready_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_https_with_a_certificate_and_keys_from_a_file(tmp_path: Path) -> None:
    cert, key, keys = (tmp_path / name for name in ("cert.pem", "key.pem", "keys"))
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    make += ["-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout", str(key)]
    make += ["-addext", "subjectAltName=DNS:localhost", "-out", str(cert)]
    subprocess.run(make, check=True, capture_output=True)
    keys.write_text("# ours\nsecret\n")
    process = _start(
        tmp_path,
        *("--port", "0", "--ssl-cert-file", str(cert), "--ssl-key-file", str(key)),
        *("--api-key-file", str(keys)),
    )
    try:
        line = _ready_line(process)
        assert "https://127.0.0.1:" in line
        port = int(line.split("https://127.0.0.1:")[1].split()[0])
        context = ssl.create_default_context(cafile=str(cert))
        for headers, status in (({}, 401), ({"Authorization": "Bearer secret"}, 200)):
            connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
            connection.request("GET", "/v1/models", headers=headers)
            assert connection.getresponse().status == status
            connection.close()
    finally:
        _stop(process)


def test_a_unix_socket_answers_refuses_a_second_server_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    process = _start(tmp_path, "--host", str(path))
    try:
        ready = _ready_line(process)
        assert f"unix:{path}" in ready
        assert "browser" not in ready
        assert path.stat().st_mode & 0o777 == 0o660
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(
                b"GET /health HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n"
            )
            assert client.recv(1024).startswith(b"HTTP/1.1 200")
        second = _start(tmp_path, "--host", str(path))
        _, error = second.communicate(timeout=60)
        assert second.returncode == 1
        assert "another server is already listening there" in error
    finally:
        _stop(process)
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--host", "0.0.0.0"], 2, "--insecure-no-auth"),
        (["--ssl-cert-file", "no.pem", "--ssl-key-file", "no.pem"], 1, "cannot serve HTTPS"),
        (["--host", "203.0.113.7", "--api-key", "k"], 1, "cannot listen on 203.0.113.7"),
    ],
)
def test_a_server_that_cannot_start_prints_the_reason(
    tmp_path: Path, arguments: list[str], status: int, words: str
) -> None:
    process = _start(tmp_path, *arguments)
    _, error = process.communicate(timeout=60)
    assert process.returncode == status
    assert words in error
    assert "Traceback" not in error


def test_during_shutdown_requests_get_503_and_a_second_signal_ends_the_server(
    tmp_path: Path,
) -> None:
    with ServerProcess(tmp_path) as server:
        server.post(f"/api/v2/models/{TINY}/load", {"n_ctx": 32_768, "threads": 1})
        worker = int(server.engine()["pid"])
        with server.open(f"/api/v2/chat/{TINY}/stream", _ENDLESS) as response:
            next_event(response)
            server.signal(signal.SIGTERM)
            until(lambda: server.request("GET", "/ready")[0] == 503, "/ready is 503")
            status, document = server.request("POST", f"/api/v2/chat/{TINY}", _ENDLESS)
            assert status == 503, document
            assert server.request("GET", "/health")[0] == 200
            server.signal(signal.SIGTERM)
            assert server.wait() == 128 + signal.SIGTERM
        until(lambda: is_gone(worker), "the worker has ended")


def test_a_server_py_in_the_current_folder_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text("raise SystemExit('the wrong server')\n")
    process = subprocess.run(
        [sys.executable, "-P", "-m", "server", "--version"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("llamabind ")
