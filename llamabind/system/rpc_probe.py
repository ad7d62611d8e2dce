"""probe_rpc_servers: asks RPC servers for their devices, with a time limit and no native code.

ggml's own client waits without a limit and aborts the process on a failure, so each server is asked
here first. The protocol is that of ggml/src/ggml-rpc/ggml-rpc.cpp: a request is a command byte, the
size of its body and the body; a reply is its size and its body; all numbers are little-endian.
"""

import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from llamabind.errors import RpcServerError

PROBE_SECONDS: Final = 5.0
"""Default time limit for a server's answers."""

PROTOCOL: Final = (7, 0)
"""Major and minor version of the protocol: RPC_PROTO_MAJOR_VERSION of ggml-rpc.h."""

HELLO: Final = 14
_DEVICE_COUNT: Final = 15
_DEVICE_MEMORY: Final = 11
# The capabilities of a connection; zeros are none (RPC_CONN_CAPS_SIZE of transport.h).
NO_CAPABILITIES: Final = bytes(24)
_MAX_DEVICES: Final = 64


@dataclass(frozen=True, slots=True)
class RpcDeviceMemory:
    """Memory of one device of an RPC server, in bytes."""

    free: int
    total: int


@dataclass(frozen=True, slots=True)
class RpcServerState:
    """What an RPC server answered: its devices, or the error in their place."""

    address: str
    devices: tuple[RpcDeviceMemory, ...] = ()
    error: RpcServerError | None = None


def probe_rpc_servers(
    addresses: Sequence[str], seconds: float = PROBE_SECONDS
) -> tuple[RpcServerState, ...]:
    """Ask all servers at once; returns within `seconds`, even if a name does not resolve.

    The addresses must be checked (check_rpc_addresses).
    """
    deadline = time.monotonic() + seconds
    found: dict[str, RpcServerState] = {}

    def ask(address: str) -> None:
        found[address] = _probe(address, deadline, seconds)

    # Daemons: resolving a name has no time limit of its own.
    threads = [threading.Thread(target=ask, args=(item,), daemon=True) for item in addresses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline + 0.2 - time.monotonic()))
    return tuple(
        found.get(item) or RpcServerState(item, error=_lost(item, "its name does not resolve"))
        for item in addresses
    )


def _probe(address: str, deadline: float, seconds: float) -> RpcServerState:
    host, _, port = address.rpartition(":")
    try:
        connection = socket.create_connection((host, int(port)), _left(deadline))
    except TimeoutError:
        error = _lost(address, f"no connection within {seconds:g} s")
        return RpcServerState(address, error=error)
    except OSError as failure:
        return RpcServerState(address, error=_lost(address, failure.strerror or str(failure)))
    with connection:
        try:
            return RpcServerState(address, _devices(_Dialogue(connection, deadline)))
        except TimeoutError:
            error = RpcServerError(
                "rpc_server_busy",
                f"the RPC server at {address} accepts a connection, but does not answer within "
                f"{seconds:g} s: it serves another client (llama.cpp's rpc-server serves one at a "
                "time, llamabind rpc-server several), or it is no RPC server",
            )
        except _OtherVersionError as other:
            error = RpcServerError(
                "rpc_server_mismatch",
                f"the RPC server at {address} has protocol version {other}, expected "
                f"{PROTOCOL[0]}.{PROTOCOL[1]}: run it from the same version of llama.cpp",
            )
        except (OSError, ValueError) as failure:
            error = _lost(address, str(failure) or type(failure).__name__)
    return RpcServerState(address, error=error)


def _lost(address: str, why: str) -> RpcServerError:
    return RpcServerError("rpc_server_lost", f"the RPC server at {address} does not answer: {why}")


class _OtherVersionError(Exception):
    """The server has another version of the protocol; the message is its number."""


class _Dialogue:
    """Requests and replies over one connection, until a deadline."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def ask(self, command: int, body: bytes, n_reply: int) -> bytes:
        """Return the reply of `n_reply` bytes. Raises OSError or ValueError."""
        self._connection.settimeout(_left(self._deadline))
        self._connection.sendall(rpc_request(command, body))
        (size,) = struct.unpack("<Q", self._receive(8))
        if size != n_reply:
            raise ValueError(
                f"it sent {size} bytes, expected {n_reply}; it may not be an RPC server"
            )
        return self._receive(n_reply)

    def _receive(self, n_bytes: int) -> bytes:
        received = b""
        while len(received) < n_bytes:
            self._connection.settimeout(_left(self._deadline))
            part = self._connection.recv(n_bytes - len(received))
            if not part:
                raise ValueError("it closed the connection; it may not be an RPC server")
            received += part
        return received


def rpc_request(command: int, body: bytes) -> bytes:
    """The bytes of one request."""
    return struct.pack("<BQ", command, len(body)) + body


def _devices(dialogue: _Dialogue) -> tuple[RpcDeviceMemory, ...]:
    hello = dialogue.ask(HELLO, NO_CAPABILITIES, 4 + len(NO_CAPABILITIES))
    major, minor = hello[0], hello[1]
    # As ggml's negotiate_hello: an older minor version is accepted.
    if major != PROTOCOL[0] or minor > PROTOCOL[1]:
        raise _OtherVersionError(f"{major}.{minor}")
    (count,) = struct.unpack("<I", dialogue.ask(_DEVICE_COUNT, b"", 4))
    if not 1 <= count <= _MAX_DEVICES:
        raise ValueError(f"it has {count} devices, expected 1 to {_MAX_DEVICES}")
    memory = (dialogue.ask(_DEVICE_MEMORY, struct.pack("<I", i), 16) for i in range(count))
    return tuple(RpcDeviceMemory(*struct.unpack("<QQ", reply)) for reply in memory)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
