"""A refused request whose body arrives byte by byte does not keep its connection."""

import socket
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.e2e

_N_AT_ONCE = 20
_N_BYTES = 80
_PAUSE_SECONDS = 0.1
_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n"


def _is_closed(client: socket.socket) -> bool:
    """Whether the server has closed the connection; drops what it sent before."""
    try:
        return client.recv(1 << 16) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_a_trickled_body_of_a_refused_request_is_not_awaited(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--api-key", "right") as server:
        address = ("127.0.0.1", server.port)
        clients = [socket.create_connection(address, timeout=60) for _ in range(_N_AT_ONCE)]
        for client in clients:
            client.sendall(_HEAD)
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 401")
            client.setblocking(False)
        open_clients = list(clients)
        for _ in range(_N_BYTES):
            open_clients = [client for client in open_clients if not _is_closed(client)]
            for client in open_clients:
                client.send(b"x")
            time.sleep(_PAUSE_SECONDS)
        for client in clients:
            with closing(client):
                pass
        # The bodies would take another 990 s to arrive.
        assert not open_clients
