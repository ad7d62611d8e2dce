"""add_rpc_servers: makes the devices of llama.cpp's RPC servers available to this process.

A lost connection later aborts the process (RPC_STATUS_ASSERT in ggml-rpc.cpp), so load such a model
in a process of its own.
"""

import contextlib
import os
import socket
import stat
import threading
from collections.abc import Iterator, Sequence

from llamabind._capi import ggml
from llamabind.errors import InvalidParameterError, LibraryError
from llamabind.native import backend
from llamabind.system.keepalive import set_keepalive
from llamabind.system.rpc_address import check_rpc_addresses
from llamabind.system.rpc_probe import PROBE_SECONDS, probe_rpc_servers

_lock = threading.Lock()
_added: dict[str, tuple[str, ...]] = {}


def has_rpc() -> bool:
    """Return whether the native libraries were built with GGML_RPC=ON, the default."""
    return backend.has_backend("RPC")


def add_rpc_servers(addresses: Sequence[str], seconds: float = PROBE_SECONDS) -> tuple[str, ...]:
    """Add the devices of RPC servers, "HOST:PORT" each; returns their names, such as RPC0, RPC1.

    Each server is asked first, all within `seconds`. A server that was added before keeps its
    names. Raises InvalidParameterError for a wrong address, RpcServerError for a server that cannot
    be used (then no server was added), LibraryError in a build without RPC.
    """
    try:
        chosen = check_rpc_addresses(tuple(addresses))
    except ValueError as error:
        raise InvalidParameterError("rpc", str(error)) from None
    if not has_rpc():
        raise LibraryError(
            "the native libraries were built without RPC: reinstall llamabind without GGML_RPC=OFF"
        )
    with _lock:
        for state in probe_rpc_servers([one for one in chosen if one not in _added], seconds):
            if state.error is not None:
                raise state.error
        for address in chosen:
            if address not in _added:
                _added[address] = _add(address)
    return tuple(name for address in chosen for name in _added[address])


def has_remote_devices() -> bool:
    """Return whether this process has devices of RPC servers."""
    return bool(_added)


def _add(address: str) -> tuple[str, ...]:
    registry = ggml.ggml_backend_rpc_add_server(address.encode())
    assert registry, "the server has at least one device: it was asked"
    ggml.ggml_backend_register(registry)
    count = ggml.ggml_backend_reg_dev_count(registry)
    devices = (ggml.ggml_backend_reg_dev_get(registry, index) for index in range(count))
    return tuple(ggml.ggml_backend_dev_name(device).decode() for device in devices)


def keep_connections_alive() -> int:
    """Let the system notice servers that vanish without closing their connections, within 35 s;
    returns the number of connections.

    ggml opens a connection with the first buffer and sets no time limit. Call it after a load.
    """
    ports = {int(address.rpartition(":")[2]) for address in _added}
    count = 0
    for connection in _tcp_connections():
        with connection:
            if connection.getpeername()[1] in ports:
                set_keepalive(connection)
                count += 1
    return count


def _tcp_connections() -> Iterator[socket.socket]:
    """Duplicates of this process's connected IPv4 sockets, for options that both share."""
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"  # noqa: PTH112
    for descriptor in map(int, os.listdir(folder)):  # noqa: PTH208 - a snapshot
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            connection = socket.socket(fileno=os.dup(descriptor))
            try:
                is_tcp = connection.family == socket.AF_INET and bool(connection.getpeername())
            except OSError:  # not connected
                is_tcp = False
            if is_tcp:
                yield connection
            else:
                connection.close()
