"""Requests whose clients have gone before they are accepted cost nothing."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.raw_http import exchange, listening
from tests.support.server_app import chat_body, pause

_LOOPBACK = "127.0.0.1"
_LIVE = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def _post() -> bytes:
    body = json.dumps(chat_body("hello", model="m.gguf")).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def _listening(folder: Path) -> AsyncIterator[int]:
    async with listening(folder) as url:
        yield int(url.rsplit(":", 1)[1])


def _send(port: int, data: bytes) -> socket.socket:
    """A client that has sent `data`, before the server has accepted it: its loop is not running."""
    client = socket.create_connection((_LOOPBACK, port))
    client.sendall(data)
    return client


async def _lines(caplog: pytest.LogCaptureFixture, port: int, start: str = "POST") -> list[str]:
    """The lines of the access log with this start, after a later request has been answered."""
    assert (await exchange(port, _LIVE))[0] == 200
    lines = [one.getMessage() for one in caplog.records if one.name == "server.http.access"]
    return [line for line in lines if line.startswith(start)]


@pytest.mark.parametrize("data", [_post(), _post()[:50], b""])
async def test_requests_that_were_closed_before_they_were_accepted_reach_no_handler(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    caplog.set_level(logging.INFO, logger="server.http.access")
    async with _listening(tmp_path) as port:
        for _ in range(20):
            _send(port, data).close()
        assert await _lines(caplog, port) == []


async def test_a_request_that_is_closed_while_it_is_received_reaches_no_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="server.http.access")
    async with _listening(tmp_path) as port:
        data = _post()
        _, writer = await asyncio.open_connection(_LOOPBACK, port)
        writer.write(data[:-1])
        await writer.drain()
        assert await _lines(caplog, port) == []
        writer.write(data[-1:])
        writer.close()
        while not (lines := await _lines(caplog, port)):
            await pause()
    assert lines[0].startswith("POST /v1/chat/completions 499 ")
    assert "model=" not in lines[0]
