"""More connections than the limit of file descriptors allows: each gets an answer, none hangs."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.support.server_process import ServerProcess, until

pytestmark = pytest.mark.e2e

# A shell that starts the server with a soft and hard limit of 256 descriptors.
_FEW = ("sh", "-c", 'ulimit -n 256; exec "$@"', "sh")
_SOFT = ("sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh")
_N_IDLE = 300
_GET = b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@contextmanager
def _idle(server: ServerProcess, n_connections: int) -> Iterator[list[socket.socket]]:
    """Connections that send nothing."""
    with ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        yield [
            stack.enter_context(closing(socket.create_connection(address, timeout=60)))
            for _ in range(n_connections)
        ]


def _status(server: ServerProcess) -> int:
    """The status of GET /live on a new connection, with the whole answer read."""
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=60)) as client:
        client.sendall(_GET)
        answer = b""
        while data := client.recv(1 << 16):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"
    return int(head.split()[1])


def _is_served(server: ServerProcess) -> bool:
    return _status(server) == 200


def _connections(pid: int) -> list[object]:
    connections = psutil.Process(pid).net_connections("tcp")
    return [one for one in connections if one.status != psutil.CONN_LISTEN]


def _descriptors(pid: int) -> set[int]:
    """The numbers in use, without the files of /proc that the monitor opens for moments."""
    used = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if not str(entry.readlink()).startswith("/proc/"):
                used.add(int(entry.name))
    return used


@contextmanager
def _without_gaps(server: ServerProcess) -> Iterator[int]:
    """How many descriptors the server has open, with idle connections in all gaps between them.

    A limit allows the numbers below it: while a low number is free, a limit is not yet reached.
    """
    pid = server.process.pid
    until(lambda: not _connections(pid), "the server has closed the connection")
    used = _descriptors(pid)
    with _idle(server, max(used) + 1 - len(used)):
        until(
            lambda: _descriptors(pid) == set(range(max(used) + 1)),
            "an idle connection is in each gap",
        )
        yield max(used) + 1


def test_with_few_descriptors_connections_above_the_limit_get_503(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, prefix=_FEW) as server:
        with _idle(server, _N_IDLE):
            assert [_status(server) for _ in range(5)] == [503] * 5
            log = server.log.read_text()
            assert "the limit of 256 file descriptors" in log
            assert "Traceback" not in log
        until(lambda: _is_served(server), "closed connections make room")


def test_the_soft_limit_is_raised_for_max_connections(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--max-connections", "400", prefix=_SOFT) as server:
        with _idle(server, _N_IDLE):
            assert [_status(server) for _ in range(5)] == [200] * 5
        assert "file descriptors" not in server.log.read_text()


def test_without_any_descriptor_left_clients_get_503_until_one_is_free(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        assert _is_served(server)
        pid, limits = server.process.pid, resource.getrlimit(resource.RLIMIT_NOFILE)
        with _without_gaps(server) as n_open:
            # As if other parts of the process had taken all that were meant for them.
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (n_open, limits[1]))
            assert [_status(server) for _ in range(50)] == [503] * 50
            log = server.log.read_text()
            assert log.count("no file descriptor is left") == 1
            assert "Traceback" not in log
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        until(lambda: _is_served(server), "a descriptor is free")


def test_with_one_descriptor_left_clients_are_served_one_by_one(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        assert _is_served(server)
        pid, limits = server.process.pid, resource.getrlimit(resource.RLIMIT_NOFILE)
        with _without_gaps(server) as n_open:
            n_idle = len(_connections(pid))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (n_open + 1, limits[1]))
            for _ in range(50):
                assert _is_served(server)
                until(lambda: len(_connections(pid)) == n_idle, "the connection is closed")
        # No client waited while no descriptor was free.
        assert "no file descriptor is left" not in server.log.read_text()
