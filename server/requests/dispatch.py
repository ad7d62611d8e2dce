"""submit, ask and peek: send a request or a task to a model's worker and wait for its end."""

import asyncio
import logging
import uuid

import msgspec

from server.errors import UnavailableError
from server.models.entry import ModelEntry
from server.models.registry import ModelRegistry
from server.protocol.messages import Ask, Submit
from server.protocol.tasks import Render, Rendered, Task, TaskResult
from server.requests.remote_media import MediaFetcher
from server.streams.token_stream import TokenStream

logger = logging.getLogger(__name__)

# Longer than a step of a working engine, between two of which it answers tasks.
_PEEK_SECONDS = 15.0
_RETRY_SECONDS = 5


async def submit(
    registry: ModelRegistry, entry: ModelEntry, message: Submit | Ask, stream: TokenStream
) -> None:
    """Send an admitted request to the model's worker, loading the model first if needed.

    Returns when the last output, the result or an error is on `stream`. If the worker crashes
    before the first output, the request is sent once more, to a new worker. Cancelling cancels the
    request. Raises ApiError.
    """
    stream.may_restart = True
    await _lease_and_send(registry, entry, message, stream)
    if stream.restart():
        logger.info("request %s: submitted again after a crash", stream.request_id)
        await _lease_and_send(registry, entry, message, stream)


async def ask(
    registry: ModelRegistry, model_id: str, task: Task, media: MediaFetcher | None = None
) -> TaskResult:
    """Admit a request for `task` and return its result. Raises ApiError.

    `media` fetches the files that the job of a Render names by URLs. The warnings of a Rendered
    include those of its job.
    """
    stream = TokenStream(uuid.uuid4().hex)
    async with registry.admit(model_id, stream) as entry:
        if media is not None and isinstance(task, Render):
            task = Render(await media.complete(task.job))
        await submit(registry, entry, Ask(stream.request_id, task), stream)
    result = stream.require_result()
    if isinstance(task, Render) and isinstance(result, Rendered):
        warnings = (*task.job.warnings, *stream.warnings, *result.warnings)
        return msgspec.structs.replace(result, warnings=warnings)
    return result


async def peek(entry: ModelEntry, task: Task) -> TaskResult:
    """The result of a read-only task, from a model in memory. Raises ApiError.

    It takes no lease: it does not wait in the queue, and does not keep the model from being
    unloaded.
    """
    stream = TokenStream(uuid.uuid4().hex)
    worker = entry.worker
    try:
        worker.submit(Ask(stream.request_id, task), stream)
        async with asyncio.timeout(_PEEK_SECONDS):
            await stream.wait_ended()
    except TimeoutError:
        raise UnavailableError(
            f"model {entry.id!r} did not answer within {_PEEK_SECONDS:g} s",
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
