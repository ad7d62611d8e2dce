"""The parts of a request are freed at its end, not at Python's next garbage collection.

A body may have 32 MB, and a collection may be 100 requests away.
"""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from pytest_aiohttp import AiohttpClient

from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, make_app, pause


@dataclass
class Watched:
    """A client, and the requests that the server got; their handlers refer to them."""

    client: Client
    requests: "list[weakref.ref[web.Request]]"

    async def all_are_freed(self) -> None:
        """Wait until none exists. A connection keeps its latest one, so another must follow."""
        n_sent = len(self.requests)
        await (await self.client.get("/live")).read()
        while any(request() is not None for request in self.requests[:n_sent]):
            await pause()


@pytest.fixture
async def watched(aiohttp_client: AiohttpClient, tmp_path: Path) -> Watched:
    write_gguf(tmp_path / "m.gguf")
    app, requests = make_app(tmp_path), []

    async def note(request: web.Request, _response: web.StreamResponse) -> None:
        requests.append(weakref.ref(request))

    app.on_response_prepare.append(note)
    return Watched(await aiohttp_client(app), requests)


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("echo: a b", "m.gguf"),
        ("refuse", "m.gguf"),
        ("bug", "m.gguf"),
        ("die", "m.gguf"),
        ("echo: a", "unknown.gguf"),
    ],
)
@pytest.mark.usefixtures("no_collection")
async def test_a_request_leaves_nothing_to_collect(
    watched: Watched, path: str, stream: bool, text: str, model: str
) -> None:
    body = chat_body(text, model=model, stream=stream, max_tokens=8)
    for _ in range(2):
        await (await watched.client.post(path, json=body)).read()
    assert len(watched.requests) == 2
    await watched.all_are_freed()


@pytest.mark.usefixtures("no_collection")
async def test_a_request_whose_client_disconnects_leaves_nothing_to_collect(
    watched: Watched,
) -> None:
    body = chat_body("echo: " + "a " * 10_000, model="m.gguf", stream=True)
    for _ in range(2):
        response = await watched.client.post("/v1/chat/completions", json=body)
        await response.content.readany()
        response.close()
    await watched.all_are_freed()
