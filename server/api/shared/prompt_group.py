"""PromptGroup: the generations for all prompts of one request."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from aiohttp import web

from server.api.shared.generate import with_defaults
from server.http.app_keys import CONFIG, GENERATION, REGISTRY
from server.protocol.job import Job
from server.requests.generation import Generation
from server.streams.answer import Answer
from server.streams.merged_stream import MergedStream
from server.streams.wakeup import Wakeup


class PromptGroup:
    """One generation for each job, for `async with`. All jobs have the same `n`.

    Leaving the block early, for any reason, cancels all of them.
    """

    def __init__(self, request: web.Request, model_id: str, jobs: Sequence[Job]) -> None:
        wakeup = Wakeup()
        registry, config = request.app[REGISTRY], request.app[CONFIG]
        jobs = [with_defaults(job, config) for job in jobs]
        self._generations = [Generation(registry, model_id, job, wakeup=wakeup) for job in jobs]
        # The access log reports the first one only.
        request[GENERATION] = self._generations[0]
        streams = [generation.stream for generation in self._generations]
        self.stream = MergedStream(streams, jobs[0].n, wakeup)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for generation in self._generations:
            await self._stack.enter_async_context(generation)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @property
    def fingerprint(self) -> str:
        """The llama.cpp build of the worker; known from the first output on."""
        return self._generations[0].fingerprint

    async def collect(self) -> list[Answer]:
        """The complete answers of all jobs; one that fails ends the others. Raises ApiError."""
        return await asyncio.gather(*(one.collect() for one in self._generations))
