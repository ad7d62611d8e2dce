"""`llamabind rpc-server`: its flags, its clients, its end."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from llamabind.native import backend
from llamabind.native.rpc_serving import _device_names, drop_incomplete
from llamabind.system.rpc_probe import HELLO, NO_CAPABILITIES, probe_rpc_servers, rpc_request
from tests.support.paths import ROOT
from tests.support.rpc_servers import RpcServerProcess, skip_without_rpc
from tests.support.server_process import is_gone, until

pytestmark = pytest.mark.native

# Commands of the protocol (enum rpc_cmd of ggml-rpc.cpp).
_SET_TENSOR = 6
_DEVICE_COUNT = 15


@pytest.fixture
def remote() -> Iterator[RpcServerProcess]:
    with RpcServerProcess("--clients", "2") as server:
        yield server


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "llamabind", "rpc-server", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "example.org"])
def test_other_addresses_than_loopback_need_a_flag(host: str) -> None:
    done = _run("--host", host)
    assert done.returncode == 2
    assert f"--host {host} is not a loopback address" in done.stderr
    assert "no keys and no encryption" in done.stderr
    assert "--insecure-rpc" in done.stderr


def test_the_flag_allows_every_address() -> None:
    with RpcServerProcess("--host", "0.0.0.0", "--insecure-rpc") as server:
        (state,) = probe_rpc_servers([f"127.0.0.1:{server.port}"])
        assert state.error is None


def test_the_help_says_that_there_are_no_keys() -> None:
    assert "no keys and no encryption" in _run("--help").stdout


def test_an_unknown_device_is_a_sentence() -> None:
    done = _run("--device", "XPU7", "--port", "0")
    assert done.returncode == 2
    assert "no device 'XPU7'; this machine has CPU" in done.stderr


def test_a_port_in_use_is_a_sentence(remote: RpcServerProcess) -> None:
    done = _run("--port", str(remote.port))
    assert done.returncode == 1
    assert f"127.0.0.1:{remote.port}: Address already in use" in done.stderr


def test_a_second_client_is_served_while_the_first_stays(remote: RpcServerProcess) -> None:
    with _client(remote):
        (state,) = probe_rpc_servers([remote.address], 30)
        assert state.error is None
        assert len(state.devices) == 1


def test_one_client_more_than_allowed_is_told_that_it_is_busy(remote: RpcServerProcess) -> None:
    with _client(remote), _client(remote):
        (state,) = probe_rpc_servers([remote.address], 1)
        assert state.error is not None
        assert state.error.reason == "rpc_server_busy"
    (state,) = probe_rpc_servers([remote.address], 30)
    assert state.error is None


@pytest.mark.parametrize(
    "data", [b"\xff" * 64, rpc_request(_SET_TENSOR, b"")[:1] + (1 << 62).to_bytes(8, "little")]
)
def test_a_client_that_sends_nonsense_ends_only_its_own_connection(
    remote: RpcServerProcess, data: bytes
) -> None:
    """The second one makes ggml end its process: a size for which it gets no memory."""
    with _client(remote) as other, _client(remote) as bad:
        bad.sendall(data)
        with suppress(ConnectionResetError):
            assert bad.recv(1) == b""
        other.sendall(rpc_request(_DEVICE_COUNT, b""))
        assert _receive(other, 12)[8:] == b"\x01\x00\x00\x00"
        (state,) = probe_rpc_servers([remote.address], 30)
        assert state.error is None


def test_a_kill_ends_the_connections(remote: RpcServerProcess) -> None:
    children = psutil.Process(remote.process.pid).children()
    with _client(remote) as client:
        remote.kill()
        assert client.recv(1) == b""
    until(lambda: all(is_gone(child.pid) for child in children), "its processes have ended")


def test_the_newest_file_of_a_cache_may_be_incomplete(tmp_path: Path) -> None:
    for index, (name, size) in enumerate([("a", 3), ("empty", 0), ("b", 3), ("newest", 2)]):
        (tmp_path / name).write_bytes(b"x" * size)
        os.utime(tmp_path / name, (index, index))
    drop_incomplete(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]
    drop_incomplete(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_the_report_and_list_devices_show_the_remote_devices(remote: RpcServerProcess) -> None:
    for command in (
        ("llamabind", "report", "--devices", "--rpc", remote.address),
        ("server", "--rpc", remote.address, "--list-devices"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, cwd=ROOT, check=True
        )
        assert f"RPC0: {remote.address} (gpu, " in done.stdout


def test_a_report_with_a_dead_server_is_a_sentence() -> None:
    skip_without_rpc()
    done = subprocess.run(
        [sys.executable, "-m", "llamabind", "report", "--rpc", "127.0.0.1:1"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "--rpc: the RPC server at 127.0.0.1:1 does not answer: Connection refused\n"
    )


def _client(remote: RpcServerProcess) -> socket.socket:
    """A connection that has a process of its own: it has answered."""
    connection = socket.create_connection(("127.0.0.1", remote.port), timeout=60)
    connection.sendall(rpc_request(HELLO, NO_CAPABILITIES))
    _receive(connection, 36)
    return connection


def _receive(connection: socket.socket, n_bytes: int) -> bytes:
    """Exactly `n_bytes`. One recv() may return fewer, also with MSG_WAITALL if it has a limit."""
    received = b""
    while len(received) < n_bytes:
        part = connection.recv(n_bytes - len(received))
        assert part, f"the server closed the connection after {received!r}"
        received += part
    return received


def test_a_build_without_rpc_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(backend, "has_backend", lambda name: False)
    assert _device_names("CPU") == []
    assert "built without RPC: reinstall llamabind without GGML_RPC=OFF" in capsys.readouterr().err
