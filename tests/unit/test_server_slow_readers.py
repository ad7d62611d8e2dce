"""Clients that do not read their stream are cut off, and cost nothing then."""

import asyncio
import socket

from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from server.config import ServerConfig
from server.keys import CONFIG
from server.ndjson import NdjsonWriter
from server.sse import SseWriter

_REQUEST = b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def _give_up(aiohttp_client: AiohttpClient, kind: type[SseWriter | NdjsonWriter]) -> str:
    """What the handler of a stream is told whose client reads nothing."""
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def stream(request: web.Request) -> web.StreamResponse:
        writer = await kind.open(request)
        try:
            # More than all buffers between the two hold.
            while True:
                await writer.send([{"text": "x" * (1 << 20)}])
        except ConnectionResetError as error:
            told.set_result(str(error))
            raise

    app = web.Application()
    app[CONFIG] = ServerConfig(write_seconds=0.2)
    app.router.add_get("/stream", stream)
    client = await aiohttp_client(app)
    assert client.port is not None
    with socket.create_connection((client.host, client.port)) as reader:
        reader.sendall(_REQUEST)
        async with asyncio.timeout(30):
            return await told


async def test_who_takes_no_events_is_cut_off(aiohttp_client: AiohttpClient) -> None:
    assert await _give_up(aiohttp_client, SseWriter) == "the client took nothing for 0.2 seconds"


async def test_who_takes_no_lines_is_cut_off(aiohttp_client: AiohttpClient) -> None:
    assert await _give_up(aiohttp_client, NdjsonWriter) == "the client took nothing for 0.2 seconds"
