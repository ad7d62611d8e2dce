"""Generation: the life of one request, from its lease to its last output."""

import asyncio
import logging
import uuid
from types import TracebackType
from typing import Self

from server.answer import Answer, collect
from server.job import Job
from server.protocol import LoadedModel, Submit
from server.registry import ModelRegistry
from server.stream import TokenStream

logger = logging.getLogger(__name__)


class Generation:
    """One request: lease the model (which may load it), submit, read, release.

    `async with` it; `stream` brings the outputs and every error. Leaving early, for whatever
    reason, cancels what goes on: waiting for the load (not the load), the prompt, or the answer.
    """

    def __init__(self, registry: ModelRegistry, model_id: str, job: Job) -> None:
        self.stream = TokenStream(uuid.uuid4().hex, job.n)
        self._registry = registry
        self.model_id = model_id
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

    async def collect(self) -> Answer:
        """All answers, whole. Raises ApiError."""
        return await collect(self.stream)

    async def _run(self) -> None:
        self.stream.may_restart = True
        await self._answer()
        if self.stream.restart():
            logger.info("request %s: submitted again after a crash", self.stream.request_id)
            await self._answer()

    async def _answer(self) -> None:
        stream = self.stream
        message = Submit(stream.request_id, self._job)
        async with self._registry.lease(self.model_id, stream) as worker:
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
