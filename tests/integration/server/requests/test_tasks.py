"""Tasks: sent to a worker process, answered once."""

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


async def test_a_task_loads_the_model_and_returns_its_result(registry: ModelRegistry) -> None:
    result = await ask(registry, "m.gguf", Tokenize(content="a b", with_pieces=True))
    assert result == Tokens(tokens=(0, 1), pieces=(b"a", b"b"))
    assert await ask(registry, "m.gguf", Detokenize((3, 4))) == Text("3 4")
    conversation = ChatPrompt(messages=[{"role": "user", "content": "one two"}])
    rendered = await ask(registry, "m.gguf", Render(Job(prompt=conversation)))
    assert rendered == Rendered(prompt="<one two>", n_tokens=2)


async def test_an_invalid_task_is_a_client_error(registry: ModelRegistry) -> None:
    with pytest.raises(InvalidRequestError, match="no tokens") as failure:
        await ask(registry, "m.gguf", Embed(inputs=("",)))
    assert failure.value.param == "input"


async def test_a_task_that_crashes_two_workers_fails_and_the_next_one_succeeds(
    registry: ModelRegistry,
) -> None:
    with pytest.raises(WorkerCrashedError):
        await ask(registry, "m.gguf", Tokenize(content="die"))
    assert await ask(registry, "m.gguf", Detokenize((1,))) == Text("1")


async def test_a_worker_that_exited_before_its_entry_was_updated_is_replaced(
    registry: ModelRegistry,
) -> None:
    await ask(registry, "m.gguf", Tokenize(content="a"))
    entry = await registry.find("m.gguf")
    worker = entry.worker
    os.kill(worker.pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        while not worker.exited.done():  # noqa: ASYNC110 - continue in the loop iteration in which it ends
            await asyncio.sleep(0)
    # The callback that updates the entry has not run yet.
    assert entry.is_held_by(worker)
    assert await ask(registry, "m.gguf", Tokenize(content="a b")) is not None
    assert not entry.is_held_by(worker)
