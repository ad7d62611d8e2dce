"""ChatJob, a request without its dialect, and Generation, its life from lease to last piece."""

import asyncio
import uuid
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from llamabind import SamplingParams
from server.errors import ApiError
from server.protocol import LoadedModel, Submit
from server.registry import ModelRegistry
from server.stream import Piece, TokenStream


@dataclass(frozen=True, slots=True)
class ChatJob:
    """A conversation to continue. `max_tokens` None is until the model ends or the context does."""

    messages: list[dict[str, Any]]
    sampling: SamplingParams
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


class Generation:
    """One request: lease the model (which may load it), submit, read, release.

    `async with` it; `stream` brings the pieces and every error. Leaving early, for whatever reason,
    cancels what goes on: waiting for the load (not the load), the prompt, or the answer.
    """

    def __init__(self, registry: ModelRegistry, model_id: str, job: ChatJob) -> None:
        self.stream = TokenStream(uuid.uuid4().hex)
        self._registry = registry
        self._model_id = model_id
        self._job = job
        self._task: asyncio.Task[None] | None = None
        self._model: LoadedModel | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._pass_on_error)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})

    @property
    def fingerprint(self) -> str:
        """The llama.cpp build that answers; known from the first piece on."""
        return self._model.fingerprint if self._model else ""

    async def collect(self) -> Piece:
        """The whole answer as one piece. Raises ApiError."""
        texts = []
        async for piece in self.stream:
            texts.append(piece.text)
            if piece.finish_reason is not None:
                return Piece("".join(texts), piece.usage, piece.finish_reason, piece.timings_ms)
        raise ApiError("the answer has no end")

    async def _run(self) -> None:
        job, stream = self._job, self.stream
        message = Submit(
            request_id=stream.request_id,
            messages=job.messages,
            sampling=job.sampling,
            max_tokens=job.max_tokens,
            stop=job.stop,
        )
        async with self._registry.lease(self._model_id, stream) as worker:
            self._model = worker.model
            worker.submit(message, stream)
            try:
                await stream.wait_ended()
            finally:
                worker.cancel(stream.request_id)

    def _pass_on_error(self, task: asyncio.Task[None]) -> None:
        """Whatever ended the task early, the reader must hear of it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.stream.fail(error)
