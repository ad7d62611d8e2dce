"""Several small bodies at once that unpack to gigabytes cost a server little memory."""

import http.client
import socket
import threading
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.e2e

_N_AT_ONCE = 4
_GIGABYTES = 1
_MAX_GROWTH = 64 << 20


def gzip_bomb(n_gigabytes: int) -> bytes:
    """Gigabytes of spaces, made by repeating the compressed bytes of one megabyte."""
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    head = compressor.compress(b" " * (1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    block = compressor.compress(b" " * (1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return head + block * (1024 * n_gigabytes - 1)


def _peak_rss(pid: int) -> int:
    """The largest memory that the process has had, in bytes; Linux only."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmHWM")


def _send(port: int, body: bytes, answers: list[bytes]) -> None:
    """Send a request and read until the server closes the connection."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\n"
        f"Authorization: Bearer wrong\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as connection:
        connection.sendall(head.encode() + body)
        answer = b""
        while data := connection.recv(1 << 16):
            answer += data
    answers.append(answer)


@pytest.mark.parametrize(
    ("flags", "status"),
    [(("--api-key", "right"), b"401"), ((), b"413")],
    ids=["wrong key", "no key"],
)
def test_four_bodies_that_unpack_to_a_gigabyte_cost_little_memory(
    tmp_path: Path, flags: tuple[str, ...], status: bytes
) -> None:
    body = gzip_bomb(_GIGABYTES)
    assert len(body) < 3 << 20
    with ServerProcess(tmp_path, *flags) as server:
        before = _peak_rss(server.process.pid)
        answers: list[bytes] = []
        senders = [
            threading.Thread(target=_send, args=(server.port, body, answers))
            for _ in range(_N_AT_ONCE)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert [answer.split()[1] for answer in answers] == [status] * _N_AT_ONCE
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as client:
            client.request("GET", "/live")
            assert client.getresponse().status == 200
        growth = _peak_rss(server.process.pid) - before
    # Together they unpack to 4 GB; a body may have 32 MB, and one is unpacked at a time.
    assert growth < _MAX_GROWTH, f"{growth >> 20} MB"
