"""A server that cannot listen says so, before it loads or downloads a model."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT, TINY_MODEL

pytestmark = pytest.mark.e2e


def _refused(*arguments: str) -> str:
    """The error output of a server that cannot start."""
    done = subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize(
    "model",
    [
        [],
        ["--model", str(TINY_MODEL)],
        # Nothing is asked of this hub: without the port in use, its refusal would be the error.
        ["--hf-repo", "org/repo", "--offline"],
    ],
    ids=["none", "file", "hub"],
)
def test_a_port_in_use_is_the_only_error(model: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = _refused("--port", str(port), *model)
    assert error == (
        f"cannot listen on 127.0.0.1:{port}: another program listens there; stop it, or choose "
        "another --port\n"
    )


def test_a_unix_socket_in_use_is_the_only_error_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "other.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        error = _refused("--host", f"127.0.0.1,{path}", "--port", "0", "--model", str(TINY_MODEL))
        assert error == f"cannot listen on {path}: another server is already listening there\n"
        assert path.is_socket()


def test_a_missing_certificate_is_the_only_error() -> None:
    files = ["--ssl-cert-file", "no.pem", "--ssl-key-file", "no.pem"]
    error = _refused("--port", "0", "--model", str(TINY_MODEL), *files)
    assert error.startswith("cannot serve HTTPS: ")
    assert error.count("\n") == 1
