"""Requests of /api/v2 that are expected to end in a certain status, with a JSON document."""

import asyncio
from typing import Any

from tests.support.server_app import Client, pause


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


async def until_state(client: Client, model_id: str, wanted: str) -> None:
    async with asyncio.timeout(60):
        while await state(client, model_id) != wanted:
            await pause()
