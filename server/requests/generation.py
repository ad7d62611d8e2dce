"""Generation: one request, from its admission to its last output."""

import asyncio
import uuid
from types import TracebackType
from typing import Self

from server.models.registry import ModelRegistry
from server.protocol.job import Job
from server.protocol.messages import Submit
from server.protocol.sampling_defaults import with_sampling
from server.requests.dispatch import submit
from server.requests.remote_media import MediaFetcher
from server.streams.answer import Answer, collect
from server.streams.token_stream import TokenStream
from server.streams.wakeup import Wakeup


class Generation:
    """Runs one request: admit it, lease the model (loading it if needed), submit, release.

    `media` fetches the files that the job names by URLs. Use it with `async with`; `stream` has
    the outputs and every error. Leaving the context early cancels the request in any phase, but
    not a load that it waits for.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        model_id: str,
        job: Job,
        media: MediaFetcher | None = None,
        *,
        wakeup: Wakeup | None = None,
    ) -> None:
        """`wakeup` also wakes whenever the stream has an output; several streams may share one."""
        self.stream = TokenStream(uuid.uuid4().hex, job.n, wakeup)
        self._registry = registry
        self.model_id = model_id
        self._job = job
        self._media = media
        self._task: asyncio.Task[None] | None = None

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
        if (task := self._task) is not None:
            task.cancel()
            await asyncio.wait({task})
        self.stream.drop()

    @property
    def fingerprint(self) -> str:
        """The llama.cpp build of the worker; empty before the first output."""
        return self.stream.model.fingerprint if self.stream.model else ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Parts of the request that are ignored; complete once there is an output."""
        return (*self._job.warnings, *self.stream.warnings)

    async def collect(self) -> Answer:
        """All answers, once they are complete. Raises ApiError."""
        return await collect(self.stream)

    async def _run(self) -> None:
        stream = self.stream
        async with self._registry.admit(self.model_id, stream) as entry:
            job = with_sampling(self._job, entry.settings.sampling)
            # Fetched after admission, so not for an unknown model or while the queue is full.
            job = job if self._media is None else await self._media.complete(job)
            self._job = job  # its warnings name the files that were left out
            await submit(self._registry, entry, Submit(stream.request_id, job), stream)

    def _pass_on_error(self, task: asyncio.Task[None]) -> None:
        """Fail the stream if the task failed, so that the reader gets the error."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.stream.fail(error)
        # A task keeps its error, whose traceback keeps this object: see server.errors.detached.
        self._task = None
