"""ask: have a model do a task that is answered once, loaded first if need be; peek: only look."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable

from server.errors import UnavailableError
from server.model_entry import ModelEntry
from server.protocol import Ask
from server.registry import ModelRegistry
from server.stream import TokenStream
from server.submission import submit
from server.tasks import Task, TaskResult

# A step of the engine is over by then, unless something is wrong.
_PATIENCE_SECONDS = 15.0
_RETRY_SECONDS = 5


async def ask(registry: ModelRegistry, model_id: str, task: Task) -> TaskResult:
    """The result of `task`. A worker that dies over it is replaced once. Raises ApiError."""

    async def make() -> Task:
        return task

    return await ask_later(registry, model_id, make)


async def ask_later(
    registry: ModelRegistry, model_id: str, make: Callable[[], Awaitable[Task]]
) -> TaskResult:
    """The result of the task that `make` brings, once the request has its place."""
    stream = TokenStream(uuid.uuid4().hex)

    async def message() -> Ask:
        return Ask(stream.request_id, await make())

    await submit(registry, model_id, message, stream)
    return stream.require_result()


async def peek(entry: ModelEntry, task: Task) -> TaskResult:
    """The result of a task that only looks, of a model in memory.

    It is no use of the model: it waits in no queue, and does not keep the model from going. Raises
    ApiError.
    """
    stream = TokenStream(uuid.uuid4().hex)
    worker = entry.worker
    try:
        worker.submit(Ask(stream.request_id, task), stream)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await stream.wait_ended()
    except TimeoutError:
        raise UnavailableError(
            f"model {entry.id!r} has not answered for {_PATIENCE_SECONDS:g} s",
            retry_after=_RETRY_SECONDS,
        ) from None
    finally:
        worker.cancel(stream.request_id)
    return stream.require_result()
