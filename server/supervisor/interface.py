"""What the registry and the handlers need of a loaded model's process, and no more."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self, TypeAlias

from llamabind.errors import InvalidParameterError
from server.protocol.load_settings import LoadSettings
from server.protocol.messages import Ask, Estimated, LoadedModel, Stats, Submit
from server.streams.token_stream import TokenStream
from server.supervisor.process import WorkerExit

__all__ = [
    "Estimator",
    "LoadFailedError",
    "ProgressCallback",
    "Worker",
    "WorkerExit",
    "WorkerStarter",
]

ProgressCallback: TypeAlias = Callable[[float], None]


class LoadFailedError(Exception):
    """A model could not be loaded; `reason` as in llamabind.errors.ModelLoadError, or "crashed".

    `param` names the setting, where one is wrong.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        log_tail: tuple[str, ...] = (),
        param: str | None = None,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.log_tail = log_tail
        self.param = param

    @classmethod
    def wrong(cls, error: InvalidParameterError) -> Self:
        """For a setting that cannot be."""
        return cls("invalid_parameter", str(error), param=error.field)


class Worker(Protocol):
    """A process that has loaded one model."""

    @property
    def model(self) -> LoadedModel:
        """The effective settings and sizes."""

    @property
    def pid(self) -> int:
        """The process id."""

    @property
    def exited(self) -> asyncio.Future[WorkerExit]:
        """Done when the process is gone, for whatever reason."""

    @property
    def snapshot(self) -> Stats | None:
        """The latest report of the engine, about a second old; None before the first."""

    @property
    def stalled_seconds(self) -> float:
        """For how long an engine that has work made no step, or the process said nothing."""

    def submit(self, message: Submit | Ask, stream: TokenStream) -> None:
        """Start a request; its outputs, its result or its refusal arrive on `stream`."""

    def cancel(self, request_id: str) -> None:
        """Forget a request; nothing more arrives on its stream."""

    async def stats(self) -> Stats | None:
        """A fresh snapshot of the engine; None if the worker does not answer in time."""

    async def stop(self) -> None:
        """End the process now."""


class WorkerStarter(Protocol):
    """Makes workers: real processes in life, fakes in tests."""

    async def __call__(
        self, name: str, path: Path, settings: LoadSettings, progress: ProgressCallback
    ) -> Worker:
        """Start a process and load the model, or LoadFailedError. Cancelling ends the process."""


class Estimator(Protocol):
    """Says what a load would take, without loading."""

    async def __call__(self, name: str, path: Path, settings: LoadSettings) -> Estimated:
        """The memory by device. Raises LoadFailedError."""
