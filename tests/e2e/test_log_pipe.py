"""A log pipe without a reader, or a full disk, neither delays nor ends the server."""

import fcntl
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.server_process import ServerProcess, until

pytestmark = pytest.mark.e2e

_NOTICE = re.compile(r"(\d+) log lines were dropped")
_N_AT_ONCE = 200
_PAGE = 4096


@contextmanager
def _small_pipe() -> Iterator[tuple[int, int]]:
    """A pipe of one page, which few lines fill; the test closes the end for writing."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PAGE)
    try:
        yield reader, writer
    finally:
        os.close(reader)


def _request_much(server: ServerProcess) -> None:
    """Send many requests at once, each with a line of about 500 bytes in the access log."""
    head = f"GET /{'x' * 300} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {'y' * 128}\r\n"
    requests = f"{head}\r\n" * (_N_AT_ONCE - 1) + f"{head}Connection: close\r\n\r\n"
    answers = b""
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=60)) as client:
        client.sendall(requests.encode())
        while data := client.recv(1 << 16):
            answers += data
    assert answers.count(b"HTTP/1.1 404") == _N_AT_ONCE


def _n_dropped(server: ServerProcess) -> int:
    return int(server.metrics().sum("llamabind_log_lines_dropped_total"))


def _drop_lines(server: ServerProcess) -> None:
    while not _n_dropped(server):
        _request_much(server)


def test_a_pipe_without_a_reader_delays_no_request_and_no_shutdown(tmp_path: Path) -> None:
    with _small_pipe() as (_, writer), ServerProcess(tmp_path, stderr=writer) as server:
        os.close(writer)
        _drop_lines(server)
        assert server.get("/live") == {"status": "ok"}
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def test_the_log_says_how_many_lines_were_dropped_once_it_is_read(tmp_path: Path) -> None:
    lines: list[str] = []

    def read(descriptor: int) -> None:
        with open(descriptor, encoding="utf-8", closefd=False) as pipe:
            lines.extend(pipe)

    with _small_pipe() as (descriptor, writer):
        with ServerProcess(tmp_path, stderr=writer) as server:
            os.close(writer)
            _drop_lines(server)
            reader = threading.Thread(target=read, args=(descriptor,))
            reader.start()
            until(lambda: any(_NOTICE.search(line) for line in lines), "the notice has been read")
            _request_much(server)
            n_dropped = _n_dropped(server)
        reader.join()
    n_reported = sum(int(found[1]) for line in lines if (found := _NOTICE.search(line)))
    assert n_reported == n_dropped
    assert any("GET /xxx" in line for line in lines[-5:])


@pytest.mark.parametrize("flags", [("--log-file", "/dev/full"), ("--log-jsonl",)])
def test_a_log_that_cannot_be_written_is_counted(tmp_path: Path, flags: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # writing now fails with EPIPE; to /dev/full it fails with ENOSPC
    try:
        with ServerProcess(tmp_path, *flags, stderr=writer) as server:
            _request_much(server)
            until(lambda: _n_dropped(server) > _N_AT_ONCE, "every line is counted")
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
    finally:
        os.close(writer)
