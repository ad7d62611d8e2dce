"""ask: have a model do a task that is answered once, loaded first if need be."""

import uuid

from server.protocol import Ask
from server.registry import ModelRegistry
from server.stream import TokenStream
from server.tasks import Task, TaskResult


async def ask(registry: ModelRegistry, model_id: str, task: Task) -> TaskResult:
    """The result of `task`. A worker that dies over it is replaced once. Raises ApiError."""
    stream = TokenStream(uuid.uuid4().hex)
    stream.may_restart = True
    await _perform(registry, model_id, task, stream)
    if stream.restart():
        await _perform(registry, model_id, task, stream)
    return stream.require_result()


async def _perform(registry: ModelRegistry, model_id: str, task: Task, stream: TokenStream) -> None:
    async with registry.lease(model_id, stream) as worker:
        worker.submit(Ask(stream.request_id, task), stream)
        try:
            await stream.wait_ended()
        finally:
            worker.cancel(stream.request_id)
