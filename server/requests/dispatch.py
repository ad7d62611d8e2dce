"""submit, ask and peek: how a request or a task reaches a model's worker and is answered."""

import asyncio
import logging
import uuid

from server.errors import UnavailableError
from server.models.entry import ModelEntry
from server.models.registry import ModelRegistry
from server.protocol.messages import Ask, Submit
from server.protocol.tasks import Render, Task, TaskResult
from server.requests.remote_media import MediaFetcher
from server.streams.token_stream import TokenStream

logger = logging.getLogger(__name__)

# A step of the engine is over by then, unless something is wrong.
_PATIENCE_SECONDS = 15.0
_RETRY_SECONDS = 5


async def submit(
    registry: ModelRegistry, entry: ModelEntry, message: Submit | Ask, stream: TokenStream
) -> None:
    """Have the model do one thing for an admitted request, loaded first if need be.

    Returns when the last output, the result or an error is on `stream`. A worker that dies before
    it brought anything is replaced once. Cancelling cancels the request. Raises ApiError.
    """
    stream.may_restart = True
    await _lease_and_send(registry, entry, message, stream)
    if stream.restart():
        logger.info("request %s: submitted again after a crash", stream.request_id)
        await _lease_and_send(registry, entry, message, stream)


async def ask(
    registry: ModelRegistry, model_id: str, task: Task, media: MediaFetcher | None = None
) -> TaskResult:
    """The result of `task`, once the request is admitted. Raises ApiError.

    `media` fetches what the job of a Render names by URLs.
    """
    stream = TokenStream(uuid.uuid4().hex)
    async with registry.admit(model_id, stream) as entry:
        if media is not None and isinstance(task, Render):
            task = Render(await media.complete(task.job))
        await submit(registry, entry, Ask(stream.request_id, task), stream)
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


async def _lease_and_send(
    registry: ModelRegistry, entry: ModelEntry, message: Submit | Ask, stream: TokenStream
) -> None:
    async with registry.lease(entry, stream) as worker:
        stream.model = worker.model
        try:
            worker.submit(message, stream)
            await stream.wait_ended()
        finally:
            worker.cancel(stream.request_id)
