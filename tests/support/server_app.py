"""The real application over real worker processes with a scripted engine (fake_worker.py)."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient

from server.app import create_app
from server.config import ServerConfig
from server.parts.models import make_parts
from server.supervisor.pool import WorkerPool
from tests.support.forked_worker import ForkedWorker

COMMAND = (sys.executable, "-m", "tests.support.fake_worker")
Client = TestClient[web.Request, web.Application]
_POLL_SECONDS = 0.01


def make_app(models_dir: Path, **settings: Any) -> web.Application:
    """The application with `models_dir` and no bundled model."""
    # On a busy machine a worker may start more slowly than headers are held by default.
    settings = {"header_hold_seconds": 60.0} | settings
    config = ServerConfig(models_dir=models_dir, bundled_model=False, **settings)
    return create_app(config, make_parts(config, pool=WorkerPool(COMMAND, ForkedWorker)))


def chat_body(text: str, **more: Any) -> dict[str, Any]:
    """A request with one user message."""
    return {"messages": [{"role": "user", "content": text}], **more}


async def post(client: Client, path: str, status: int = 200, **body: Any) -> Any:
    """The JSON reply to a request for "m.gguf", which must have this status."""
    response = await client.post(path, json={"model": "m.gguf"} | body)
    assert response.status == status, await response.text()
    return await response.json()


async def pause() -> None:
    """Wait between two polls of a server's state; polling without a pause keeps a core busy."""
    await asyncio.sleep(_POLL_SECONDS)


async def events(response: ClientResponse) -> list[Any]:
    """The data of every server-sent event; "[DONE]" as it is."""
    text = await response.text()
    assert text.endswith("\n\n")
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    assert all(block.startswith("data: ") for block in blocks)
    data = [block.removeprefix("data: ") for block in blocks]
    return [item if item == "[DONE]" else json.loads(item) for item in data]
