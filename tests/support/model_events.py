"""Events of models, read from a response."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import ClientResponse


async def read_events(response: ClientResponse) -> AsyncIterator[Any]:
    """The events of a stream that goes on, as they come."""
    while block := await response.content.readuntil(b"\n\n"):
        if block.startswith(b"data: "):
            yield json.loads(block.removeprefix(b"data: "))


async def read_until(response: ClientResponse, **wanted: Any) -> list[Any]:
    """Everything up to the first event that has these values."""
    seen = []
    async with asyncio.timeout(20):
        async for event in read_events(response):
            seen.append(event)
            if wanted.items() <= event.items():
                return seen
    raise AssertionError(seen)


async def to_end(response: ClientResponse) -> AsyncIterator[Any]:
    """The events of a stream that ends by itself."""
    for block in (await response.text()).split("\n\n"):
        if block.startswith("data: "):
            yield json.loads(block.removeprefix("data: "))
