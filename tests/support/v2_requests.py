"""Model files for tests of /api/v2, and requests that must get a certain status."""

import asyncio
from pathlib import Path
from typing import Any

from tests.support.gguf_files import write_gguf
from tests.support.prometheus_text import scrape
from tests.support.server_app import Client, pause


def write_models(folder: Path) -> None:
    """Two models that answer, and one for each way in which a load can fail or take long."""
    write_gguf(folder / "m.gguf")
    write_gguf(folder / "org" / "sub" / "n.gguf")
    write_gguf(folder / "oom.gguf", "FAIL:out_of_memory")
    write_gguf(folder / "new.gguf", "FAIL:unsupported_architecture")
    write_gguf(folder / "die.gguf", "DIE")
    write_gguf(folder / "slow.gguf", "SLOW")
    (folder / "bad.gguf").write_bytes(b"no model")


async def get(client: Client, path: str, status: int = 200) -> Any:
    response = await client.get(f"/api/v2/{path}")
    assert response.status == status, await response.text()
    assert response.content_type == "application/json"
    return await response.json()


async def post(client: Client, path: str, body: Any = None, status: int = 200) -> Any:
    response = await client.post(f"/api/v2/{path}", json=body)
    assert response.status == status, await response.text()
    assert response.content_type == "application/json"
    return await response.json()


async def state(client: Client, model_id: str) -> str:
    document = await get(client, f"models/{model_id}")
    return str(document["status"])


async def until_health(client: Client, model_id: str, wanted: str) -> None:
    """As until_state; asks no worker, so its process may be stopped."""
    async with asyncio.timeout(60):
        while (await health(client))[model_id]["status"] != wanted:
            await pause()


async def health(client: Client) -> Any:
    """The models of GET /health by id."""
    return (await (await client.get("/health")).json())["models"]


async def until_in_progress(client: Client, count: int) -> None:
    """Wait until the server has this number of requests for models; asks no worker."""
    async with asyncio.timeout(60):
        while (await scrape(client)).value("llamabind_requests_in_progress") != count:
            await pause()


async def until_state(client: Client, model_id: str, wanted: str) -> None:
    async with asyncio.timeout(60):
        while await state(client, model_id) != wanted:
            await pause()
