"""Clients that do not read their stream are cut off, and cost nothing then."""

import asyncio
import socket
from pathlib import Path

import msgspec
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from server.config import ServerConfig
from server.http.app_keys import CONFIG
from server.http.ndjson import NdjsonWriter
from server.http.sse import SseWriter
from tests.support.gguf_files import write_gguf
from tests.support.prometheus_text import scrape
from tests.support.server_app import Client, chat_body, make_app, pause

_REQUEST = b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def _give_up(aiohttp_client: AiohttpClient, kind: type[SseWriter | NdjsonWriter]) -> str:
    """The error that a stream's handler gets if the client reads nothing."""
    received: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def stream(request: web.Request) -> web.StreamResponse:
        writer = await kind.open(request)
        try:
            # More than all buffers between the two hold.
            while True:
                await writer.send([{"text": "x" * (1 << 20)}])
        except ConnectionResetError as error:
            received.set_result(str(error))
            raise

    app = web.Application()
    app[CONFIG] = ServerConfig(write_seconds=0.2)
    app.router.add_get("/stream", stream)
    client = await aiohttp_client(app)
    assert client.port is not None
    with socket.create_connection((client.host, client.port)) as reader:
        reader.sendall(_REQUEST)
        async with asyncio.timeout(30):
            return await received


async def test_a_client_that_reads_no_events_is_disconnected(aiohttp_client: AiohttpClient) -> None:
    assert await _give_up(aiohttp_client, SseWriter) == "the client read nothing for 0.2 s"


async def test_a_client_that_reads_no_lines_is_disconnected(aiohttp_client: AiohttpClient) -> None:
    assert await _give_up(aiohttp_client, NdjsonWriter) == "the client read nothing for 0.2 s"


async def test_an_answer_that_is_not_read_is_cancelled(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path, write_seconds=0.2))
    await client.post("/api/v2/models/m.gguf/load")
    body = msgspec.json.encode(chat_body("flood"))
    path = "/api/v2/chat/m.gguf/stream"
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    assert client.port is not None
    with socket.socket() as reader:
        # With little data in flight, a reader that stops is noticed soon.
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        reader.connect((client.host, client.port))
        reader.sendall(head.encode() + body)
        async with asyncio.timeout(60):
            while not await _n_cancelled(client):
                await pause()
            while (await (await client.get("/api/v2/models/m.gguf")).json())["engine"]["running"]:
                await pause()
    assert await _n_cancelled(client) == 1


async def _n_cancelled(client: Client) -> float:
    return (await scrape(client)).value("llamabind_requests_total", outcome="cancelled")
