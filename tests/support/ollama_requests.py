"""Requests of Ollama's clients to the model "m"."""

import json
from typing import Any

from tests.support.server_app import Client


async def post(client: Client, path: str, status: int = 200, **body: Any) -> Any:
    """The answer of a request that must have this status."""
    fields = {"model": "m", "stream": False} | body
    response = await client.post(f"/api/{path}", json=fields)
    assert response.status == status, await response.text()
    return await response.json()


async def read_lines(client: Client, path: str, **body: Any) -> list[Any]:
    """The lines of a streamed answer."""
    response = await client.post(f"/api/{path}", json={"model": "m:latest"} | body)
    assert response.content_type == "application/x-ndjson"
    return [json.loads(line) for line in (await response.text()).splitlines()]
