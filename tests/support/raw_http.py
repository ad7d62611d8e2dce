"""The application on a real port, and byte-level exchanges with it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from server.config import ServerConfig
from server.http.connections import ConnectionRunner
from server.listening.listeners import open_listeners
from server.listening.sites import start_sites
from tests.support.gguf_files import write_gguf
from tests.support.server_app import make_app


@asynccontextmanager
async def running(folder: Path, **settings: Any) -> AsyncIterator[int]:
    """Serve the application; yields its port."""
    write_gguf(folder / "m.gguf")
    config = ServerConfig(models_dir=folder, bundled_model=False, **settings)
    runner = ConnectionRunner(make_app(folder, **settings), config, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield site.port
    finally:
        await runner.cleanup()


@asynccontextmanager
async def listening(folder: Path, **settings: Any) -> AsyncIterator[str]:
    """Serve the application as `python -m server` does, with its own acceptor; yields its URL."""
    write_gguf(folder / "m.gguf")
    settings.setdefault("hosts", ("127.0.0.1",))
    config = ServerConfig(models_dir=folder, bundled_model=False, port=0, **settings)
    runner = ConnectionRunner(make_app(folder), config, shutdown_timeout=1.0)
    await runner.setup()
    listeners = open_listeners(config)
    try:
        (url,) = await start_sites(runner, listeners, config.max_connections)
        yield url
    finally:
        await runner.cleanup()
        listeners.close()


async def exchange(port: int, data: bytes) -> tuple[int, dict[str, str], Any]:
    """Send bytes and read one answer: its status, its headers and its JSON document."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(20):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            is_head = data.startswith(b"HEAD ")
            body = b"" if is_head else await reader.readexactly(int(headers["content-length"]))
    finally:
        writer.close()
    return int(first.split()[1]), headers, json.loads(body) if body else None
