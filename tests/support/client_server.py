"""Servers for tests with clients: one runs one request at a time, one has a projector."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llamabind import read_gguf_header
from tests.support.paths import ROOT
from tests.support.random_clip import write_random_clip
from tests.support.server_process import TINY, ServerProcess, until

BUNDLED = ROOT / "llamabind" / "models"

VECTORS = "vectors.gguf"
QUESTION = "What is the weather in Paris?"
CITY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
FUNCTION: dict[str, Any] = {
    "name": "get_weather",
    "description": "Get the weather of a city",
    "parameters": CITY_SCHEMA,
}
# Without free strings: in those the tiny model would not stop.
ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
SUNNY = '{"weather": "sunny"}'
# An answer so long that in a test it ends only because its client disconnects.
ENDLESS: dict[str, Any] = {"ignore_eos": True, "n_predict": 30_000}


@contextmanager
def client_server(folder: Path) -> Iterator[ServerProcess]:
    """A server with the bundled model loaded, and a copy of it for vectors."""
    shutil.copy(BUNDLED / TINY, folder / VECTORS)
    with ServerProcess(folder, "--max-queue", "1") as server:
        settings = {"n_ctx": 32_768, "n_parallel": 1, "threads": 1}
        server.post(f"/api/v2/models/{TINY}/load", settings)
        server.post(f"/api/v2/models/{VECTORS}/load", {"embedding": True, "threads": 1})
        yield server


@contextmanager
def media_server(folder: Path) -> Iterator[ServerProcess]:
    """A server with the bundled model and a random CLIP projector, written to `folder`."""
    width = read_gguf_header(BUNDLED / TINY).embedding_length
    assert width is not None
    projector = folder / "mmproj-random.gguf"
    write_random_clip(projector, width)
    with ServerProcess(folder, "--mmproj", str(projector)) as server:
        yield server


@contextmanager
def full_queue(server: ServerProcess) -> Iterator[None]:
    """One endless answer and one queued request, so that the next request is refused."""
    body = {"messages": [{"role": "user", "content": "Tell me a story"}]} | ENDLESS
    path = f"/api/v2/chat/{TINY}"
    with server.send_only(path, body):
        until(lambda: server.engine()["running"] == 1, "the first request runs")
        with server.send_only(path, body):
            until(lambda: server.engine()["waiting"] == 1, "the second request waits")
            yield
    until(lambda: is_idle(server), "the queue is empty")


def is_idle(server: ServerProcess) -> bool:
    """True if no sequence of the model runs or waits."""
    engine = server.engine()
    return bool(engine["running"] == engine["waiting"] == 0)


def n_cancelled(server: ServerProcess) -> float:
    """Number of requests whose clients disconnected."""
    return server.metrics().sum("llamabind_requests_total", outcome="cancelled")
