"""RPC servers asked with a time limit: real ones, silent ones and other programs."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from llamabind._capi import constants
from llamabind.system.rpc_address import MAX_RPC_SERVERS, check_rpc_addresses
from llamabind.system.rpc_probe import PROTOCOL, RpcDeviceMemory, probe_rpc_servers

_VERSION = (PROTOCOL[0], PROTOCOL[1], 0)


@contextmanager
def _server(
    version: tuple[int, int, int] = _VERSION,
    devices: tuple[tuple[int, int], ...] = ((5, 9),),
    raw: bytes | None = None,
    answers: bool = True,
) -> Iterator[str]:
    """A server with these devices; with `raw` it sends that in place of its first reply."""

    def serve(connection: socket.socket) -> None:
        with closing(connection):
            while head := connection.recv(9, socket.MSG_WAITALL):
                command, size = struct.unpack("<BQ", head)
                body = connection.recv(size, socket.MSG_WAITALL) if size else b""
                if raw is not None:
                    connection.sendall(raw)
                    return
                if command == 14:
                    reply = bytes([*version, 0]) + bytes(24)
                elif command == 15:
                    reply = struct.pack("<I", len(devices))
                else:
                    reply = struct.pack("<QQ", *devices[struct.unpack("<I", body)[0]])
                connection.sendall(struct.pack("<Q", len(reply)) + reply)

    def accept() -> None:
        with closing(listener.accept()[0]) as connection:
            serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        if answers:
            thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    if answers:
        thread.join(10)


def _reason(address: str, seconds: float = 20.0) -> tuple[str, str]:
    (state,) = probe_rpc_servers([address], seconds)
    assert state.error is not None
    assert state.devices == ()
    return state.error.reason, state.error.detail


def test_every_device_reports_its_memory() -> None:
    with _server(devices=((1, 2), (1 << 40, 1 << 41))) as address:
        (state,) = probe_rpc_servers([address], 20)
    assert state.error is None
    assert state.devices == (RpcDeviceMemory(1, 2), RpcDeviceMemory(1 << 40, 1 << 41))


def test_servers_are_asked_at_once_and_keep_their_order() -> None:
    with _server(devices=((1, 1),)) as first, _server(devices=((2, 2),)) as second:
        states = probe_rpc_servers([first, "127.0.0.1:1", second], 20)
    assert [state.address for state in states] == [first, "127.0.0.1:1", second]
    assert [len(state.devices) for state in states] == [1, 0, 1]


def test_a_refused_connection_is_lost() -> None:
    reason, detail = _reason("127.0.0.1:1")
    assert reason == "rpc_server_lost"
    assert detail == "the RPC server at 127.0.0.1:1 does not answer: Connection refused"


def test_an_unknown_name_is_lost() -> None:
    reason, detail = _reason("no-such-host.invalid:50052")
    assert reason == "rpc_server_lost"
    assert "no-such-host.invalid:50052" in detail


def test_a_machine_that_ignores_connections_is_lost_in_time() -> None:
    """A full queue of connections: the system then drops further ones, as a firewall does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with ExitStack() as stack:
            for _ in range(4):
                waiting = stack.enter_context(closing(socket.socket()))
                waiting.setblocking(False)
                waiting.connect_ex(address)
            reason, detail = _reason(f"127.0.0.1:{address[1]}", 0.3)
    assert reason == "rpc_server_lost"
    assert "no connection within 0.3 s" in detail


def test_a_connection_without_an_answer_is_busy() -> None:
    with _server(answers=False) as address:
        reason, detail = _reason(address, 0.2)
    assert reason == "rpc_server_busy"
    assert "within 0.2 s" in detail


@pytest.mark.parametrize("version", [(PROTOCOL[0] + 1, 0, 0), (PROTOCOL[0], PROTOCOL[1] + 1, 0)])
def test_another_version_is_a_mismatch(version: tuple[int, int, int]) -> None:
    with _server(version=version) as address:
        reason, detail = _reason(address)
    assert reason == "rpc_server_mismatch"
    assert f"{version[0]}.{version[1]}" in detail


def test_an_older_minor_version_is_taken() -> None:
    with _server(version=(PROTOCOL[0], 0, 99)) as address:
        (state,) = probe_rpc_servers([address], 20)
    assert state.error is None


@pytest.mark.parametrize(
    "raw", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\x00" * 7, struct.pack("<Q", 1 << 60)]
)
def test_another_program_is_no_rpc_server(raw: bytes) -> None:
    with _server(raw=raw) as address:
        reason, detail = _reason(address)
    assert reason == "rpc_server_lost"
    assert "not be an RPC server" in detail


@pytest.mark.parametrize("n_devices", [0, 1000])
def test_a_strange_number_of_devices_is_refused(n_devices: int) -> None:
    with _server(devices=((1, 1),) * n_devices) as address:
        reason, detail = _reason(address)
    assert reason == "rpc_server_lost"
    assert f"{n_devices} devices" in detail


def test_the_protocol_is_the_one_of_the_header() -> None:
    expected = (constants.RPC_PROTO_MAJOR_VERSION, constants.RPC_PROTO_MINOR_VERSION)
    assert expected == PROTOCOL
    assert constants.GGML_RPC_MAX_SERVERS == MAX_RPC_SERVERS


@pytest.mark.parametrize(
    ("addresses", "sentence"),
    [
        (("host",), "not of the form HOST:PORT"),
        (("host:",), "not of the form"),
        ((":50052",), "not of the form"),
        (("[::1]:50052",), "IPv6 addresses are not supported"),
        (("host:0",), "port 0"),
        (("host:99999",), "port 99999"),
        (("ho st:1",), "not of the form"),
        (("host:1\n",), "not of the form"),
        (("host:\u0661",), "not of the form"),
        ((f"{'a' * 300}:1",), "not of the form"),
        (("a:1", "b:1", "a:1"), "a:1 is given twice"),
        (tuple(f"a:{port}" for port in range(1, 18)), "17 RPC servers, at most 16"),
    ],
)
def test_wrong_addresses_are_refused(addresses: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_rpc_addresses(addresses)


def test_names_and_ipv4_addresses_are_taken() -> None:
    addresses = ("10.0.0.2:50052", "gpu-2.example.org:1", "a:65535")
    assert check_rpc_addresses(addresses) == addresses
