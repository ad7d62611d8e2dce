"""submit: have a model do one thing, loaded first if need be; the life that all requests share."""

import logging
from collections.abc import Awaitable, Callable

from server.model_entry import ModelEntry
from server.protocol import Ask, Submit
from server.registry import ModelRegistry
from server.stream import TokenStream

logger = logging.getLogger(__name__)


async def submit(
    registry: ModelRegistry,
    model_id: str,
    make: Callable[[], Awaitable[Submit | Ask]],
    stream: TokenStream,
) -> None:
    """Returns when the last output, the result or an error is on `stream`. Raises ApiError.

    `make` brings what is submitted once the request has its place; it may take its time. A worker
    that dies before it brought anything is replaced once. Cancelling cancels the request.
    """
    stream.may_restart = True
    async with registry.admit(model_id, stream) as entry:
        message = await make()
        await _answer(registry, entry, message, stream)
        if stream.restart():
            logger.info("request %s: submitted again after a crash", stream.request_id)
            await _answer(registry, entry, message, stream)


async def _answer(
    registry: ModelRegistry, entry: ModelEntry, message: Submit | Ask, stream: TokenStream
) -> None:
    async with registry.lease(entry, stream) as worker:
        stream.model = worker.model
        try:
            worker.submit(message, stream)
            await stream.wait_ended()
        finally:
            worker.cancel(stream.request_id)
