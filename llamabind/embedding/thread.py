"""The thread that computes embeddings for all callers at once."""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Protocol

from llamabind.embedding.queue import EmbeddingChunk, EmbeddingQueue, EmbeddingRequest
from llamabind.errors import (
    EngineStoppedError,
    InputTooLongError,
    InvalidParameterError,
    LlamaError,
    QueueFullError,
)
from llamabind.system.command_thread import CommandThread, StopThread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from llamabind.embedding.config import EmbeddingShape
    from llamabind.system.command_thread import Commands

logger = logging.getLogger(__name__)


class VectorRunner(Protocol):
    """Computes batches: EmbeddingRunner with llama.cpp, or a fake in tests."""

    def run(self, chunks: Sequence[EmbeddingChunk]) -> list[NDArray[np.float32]]:
        """Return an array for each chunk that completes its input. Raises LlamaError."""


class EmbeddingThread(CommandThread[EmbeddingQueue]):
    """Computes the inputs of all requests in shared batches. Methods may be called from any thread.

    If a batch fails, the requests in it end with its error; the thread goes on with the others.
    """

    def __init__(
        self, runner: VectorRunner, shape: EmbeddingShape, max_waiting: int | None = None
    ) -> None:
        self._shape = shape
        self._max_waiting = max_waiting
        self._queue = EmbeddingQueue(shape)
        super().__init__(
            "embedding", partial(_run, self._queue, runner), "the embedding engine is closed"
        )

    def submit(self, request: EmbeddingRequest) -> None:
        """Queue a request; its future is completed on the engine's thread.

        Raises InputTooLongError, InvalidParameterError for an empty input or an unknown token id,
        QueueFullError and EngineStoppedError.
        """
        for index, tokens in enumerate(request.inputs):
            self._check(index, tokens)
        n_waiting = self._queue.n_waiting
        if self._max_waiting is not None and n_waiting + len(request.inputs) > self._max_waiting:
            raise QueueFullError(n_waiting, self._max_waiting)
        if not request.inputs:
            request.future.set_result([])
            return
        self._send(lambda queue: queue.add(request))
        request.future.add_done_callback(lambda _: self._drop_cancelled(request))

    def _check(self, index: int, tokens: Sequence[int]) -> None:
        if not tokens:
            raise InvalidParameterError("input", f"input {index} has no tokens")
        if len(tokens) > self._shape.n_input_max:
            raise InputTooLongError(len(tokens), self._shape.n_input_max, self._shape.limit_name)
        last = self._shape.n_vocab - 1
        if min(tokens) < 0 or max(tokens) > last:
            raise InvalidParameterError(
                "input", f"input {index} has a token id outside of 0 to {last}"
            )

    def _drop_cancelled(self, request: EmbeddingRequest) -> None:
        if request.future.cancelled():
            self._send_if_open(lambda queue: queue.drop(request))


def _run(
    queue: EmbeddingQueue,
    runner: VectorRunner,
    commands: Commands[EmbeddingQueue],
    mark_stopped: Callable[[], None],
) -> None:
    """Compute until stopped, then end the waiting requests with EngineStoppedError."""
    error: BaseException = EngineStoppedError("the embedding engine was closed")
    try:
        while True:
            while not queue.has_work or not commands.empty():
                commands.get()(queue)
            _compute(queue, runner)
    except StopThread:
        pass
    except BaseException as failure:
        logger.exception("the embedding thread failed")
        error = failure
    # No request can be queued after this, so the loop below ends all of them.
    mark_stopped()
    with contextlib.suppress(StopThread):
        while not commands.empty():
            commands.get()(queue)
    for request in queue.all_requests():
        request.fail(error)


def _compute(queue: EmbeddingQueue, runner: VectorRunner) -> None:
    chunks = queue.next_batch()
    try:
        vectors = runner.run(chunks)
    except Exception as error:
        # Whatever the error is, the requests of this batch must end.
        if not isinstance(error, LlamaError):
            logger.exception("a computation of embeddings failed")
        for request in {chunk.item.request for chunk in chunks}:
            queue.drop(request)
            request.fail(error)
        return
    finished = [chunk.item for chunk in chunks if chunk.is_last]
    for item, vector in zip(finished, vectors, strict=True):
        item.request.put(item.index, vector)
