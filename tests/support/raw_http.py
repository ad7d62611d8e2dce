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
