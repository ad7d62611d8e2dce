"""The server that real clients drive: one request at a time; a copy of the model for vectors."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT
from tests.support.server_process import TINY, ServerProcess, until

_BUNDLED = ROOT / "llamabind" / "models"

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
# Nothing in it can go on for ever: a tiny model's strings do.
ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
SUNNY = '{"weather": "sunny"}'
# An answer that ends only when its reader leaves, as far as a test can see.
ENDLESS: dict[str, Any] = {"ignore_eos": True, "n_predict": 30_000}


@contextmanager
def client_server(folder: Path) -> Iterator[ServerProcess]:
    """A server with both models loaded."""
    shutil.copy(_BUNDLED / TINY, folder / VECTORS)
    with ServerProcess(folder, "--max-queue", "1") as server:
        settings = {"n_ctx": 32_768, "n_parallel": 1, "threads": 1}
        server.post(f"/api/v2/models/{TINY}/load", settings)
        server.post(f"/api/v2/models/{VECTORS}/load", {"embedding": True, "threads": 1})
        yield server


@contextmanager
def full_queue(server: ServerProcess) -> Iterator[None]:
    """One endless answer, and one request that waits behind it: as many as may."""
    body = {"messages": [{"role": "user", "content": "Tell me a story"}]} | ENDLESS
    path = f"/api/v2/chat/{TINY}"
    with server.send_only(path, body):
        until(lambda: server.engine()["running"] == 1, "the first is answered")
        with server.send_only(path, body):
            until(lambda: server.engine()["waiting"] == 1, "the second waits")
            yield
    until(lambda: is_idle(server), "nothing is left")


def is_idle(server: ServerProcess) -> bool:
    """Whether no sequence of the model runs or waits."""
    engine = server.engine()
    return bool(engine["running"] == engine["waiting"] == 0)


def n_cancelled(server: ServerProcess) -> float:
    """How many requests their clients have left."""
    return server.metrics().sum("llamabind_requests_total", outcome="cancelled")
