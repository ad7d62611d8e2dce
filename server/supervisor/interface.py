"""The interfaces of worker processes that the registry and the handlers use."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self, TypeAlias

from llamabind.errors import InvalidParameterError
from server.protocol.load_settings import LoadSettings
from server.protocol.loading import Estimated, HostBudget, LoadedModel
from server.protocol.messages import Ask, Stats, Submit
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

    `param` names the wrong setting, if there is one. `has_died`: the worker process ended before it
    could report a reason.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        log_tail: tuple[str, ...] = (),
        param: str | None = None,
        *,
        has_died: bool = False,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.log_tail = log_tail
        self.param = param
        self.has_died = has_died

    @classmethod
    def for_setting(cls, error: InvalidParameterError) -> Self:
        """The error for an invalid setting."""
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
        """Done when the process has ended, expectedly or not."""

    @property
    def snapshot(self) -> Stats | None:
        """The engine's latest report, at most about a second old; None before the first."""

    @property
    def stalled_seconds(self) -> float:
        """Seconds without a step of a busy engine, or without a report of the process."""

    def submit(self, message: Submit | Ask, stream: TokenStream) -> None:
        """Start a request; its outputs, its result or its refusal arrive on `stream`."""

    def cancel(self, request_id: str) -> None:
        """End a request; nothing more arrives on its stream."""

    async def stats(self) -> Stats | None:
        """A new snapshot of the engine; None if the worker does not answer in time."""

    async def stop(self) -> None:
        """End the process now."""


class WorkerStarter(Protocol):
    """Starts workers: WorkerLauncher, or a fake in tests."""

    async def __call__(
        self,
        name: str,
        path: Path,
        settings: LoadSettings,
        progress: ProgressCallback,
        estimated: Estimated | None = None,
    ) -> Worker:
        """Start a process and load the model. Cancelling ends the process.

        `estimated` is the estimate with these settings, if there is one.

        Raises LoadFailedError.
        """


class Estimator(Protocol):
    """Estimates the memory of a load, without loading."""

    async def __call__(
        self, name: str, path: Path, settings: LoadSettings, host_budget: HostBudget = ...
    ) -> Estimated:
        """The memory by device; `host_budget` limits a context size that is left open.

        Raises LoadFailedError.
        """
