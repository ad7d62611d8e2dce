"""Tasks: asked of a worker process, answered once."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from server.errors import InvalidRequestError, WorkerCrashedError
from server.http.app_keys import REGISTRY
from server.models.registry import ModelRegistry
from server.protocol.job import ChatPrompt, Job
from server.protocol.tasks import Detokenize, Embed, Render, Rendered, Text, Tokenize, Tokens
from server.requests.dispatch import ask
from tests.support.gguf_files import write_gguf
from tests.support.server_app import make_app


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[ModelRegistry]:
    write_gguf(tmp_path / "m.gguf")
    runner = web.AppRunner(make_app(tmp_path))
    await runner.setup()
    yield runner.app[REGISTRY]
    await runner.cleanup()


async def test_a_task_loads_the_model_and_brings_its_result(registry: ModelRegistry) -> None:
    result = await ask(registry, "m.gguf", Tokenize(content="a b", with_pieces=True))
    assert result == Tokens(tokens=(0, 1), pieces=(b"a", b"b"))
    assert await ask(registry, "m.gguf", Detokenize((3, 4))) == Text("3 4")
    conversation = ChatPrompt(messages=[{"role": "user", "content": "one two"}])
    rendered = await ask(registry, "m.gguf", Render(Job(prompt=conversation)))
    assert rendered == Rendered(prompt="<one two>", n_tokens=2)


async def test_a_task_that_cannot_be_done_is_the_clients_error(registry: ModelRegistry) -> None:
    with pytest.raises(InvalidRequestError, match="no tokens") as failure:
        await ask(registry, "m.gguf", Embed(inputs=("",)))
    assert failure.value.param == "input"


async def test_a_task_that_kills_two_workers_is_an_error_and_the_next_one_is_answered(
    registry: ModelRegistry,
) -> None:
    with pytest.raises(WorkerCrashedError):
        await ask(registry, "m.gguf", Tokenize(content="die"))
    assert await ask(registry, "m.gguf", Detokenize((1,))) == Text("1")


async def test_a_worker_seen_dead_before_its_entry_knows_is_replaced(
    registry: ModelRegistry,
) -> None:
    await ask(registry, "m.gguf", Tokenize(content="a"))
    entry = await registry.find("m.gguf")
    worker = entry.worker
    os.kill(worker.pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        while not worker.exited.done():  # noqa: ASYNC110 - to be here in the round in which it ends
            await asyncio.sleep(0)
    # Here we are ahead of the callback that tells the entry.
    assert entry.is_held_by(worker)
    assert await ask(registry, "m.gguf", Tokenize(content="a b")) is not None
    assert not entry.is_held_by(worker)
