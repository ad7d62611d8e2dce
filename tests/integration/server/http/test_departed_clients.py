"""Requests whose clients have gone before they are accepted cost nothing."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from server.config import ServerConfig
from server.http.connections import ConnectionRunner
from server.listening.listeners import open_listeners
from server.listening.sites import start_sites
from tests.support.gguf_files import write_gguf
from tests.support.raw_http import exchange
from tests.support.server_app import chat_body, make_app, pause

_LOOPBACK = "127.0.0.1"
_LIVE = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def _post() -> bytes:
    body = json.dumps(chat_body("hello", model="m.gguf")).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def _listening(folder: Path) -> AsyncIterator[int]:
    """Serve the application as `python -m server` does, with its own acceptor."""
    write_gguf(folder / "m.gguf")
    config = ServerConfig(models_dir=folder, bundled_model=False, hosts=(_LOOPBACK,), port=0)
    runner = ConnectionRunner(make_app(folder), config, shutdown_timeout=1.0)
    await runner.setup()
    listeners = open_listeners(config)
    try:
        (url,) = await start_sites(runner, listeners, config.max_connections)
        yield int(url.rsplit(":", 1)[1])
    finally:
        await runner.cleanup()
        listeners.close()


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


async def test_a_get_of_a_client_that_closed_its_end_for_writing_reaches_its_handler(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="server.http.access")
    async with _listening(tmp_path) as port:
        with closing(_send(port, _LIVE.replace(b"/live", b"/v1/models"))) as client:
            client.shutdown(socket.SHUT_WR)
            while not (lines := await _lines(caplog, port, "GET /v1/models")):
                await pause()
    # From Python 3.12 on it is answered; before, aiohttp sees the end first.
    assert lines[0].startswith(("GET /v1/models 200 ", "GET /v1/models 499 "))
