"""ask: have a model do a task that is answered once, loaded first if need be."""

import uuid

from server.protocol import Ask
from server.registry import ModelRegistry
from server.stream import TokenStream
from server.submission import submit
from server.tasks import Task, TaskResult


async def ask(registry: ModelRegistry, model_id: str, task: Task) -> TaskResult:
    """The result of `task`. A worker that dies over it is replaced once. Raises ApiError."""
    stream = TokenStream(uuid.uuid4().hex)
    await submit(registry, model_id, Ask(stream.request_id, task), stream)
    return stream.require_result()
