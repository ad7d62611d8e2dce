"""ModelEntry: one model, its state, and who uses it. Decides nothing; ModelRegistry does."""

import asyncio
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from server.catalogue import ModelFile
from server.formats import utc_now
from server.load_settings import LoadSettings
from server.stream import TokenUsage
from server.worker_port import Worker

if TYPE_CHECKING:
    from datetime import datetime


class ModelState(StrEnum):
    """Where a model is in its life; the words of the API."""

    UNLOADED = "unloaded"
    QUEUED = "queued"
    LOADING = "loading"
    LOADED = "loaded"
    DRAINING = "draining"
    FAILED = "failed"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a model is not loaded: a word for programs, a sentence, and the last lines of its log."""

    reason: str
    detail: str
    log_tail: tuple[str, ...] = ()


class ModelEntry:
    """One model as the server knows it. Loop only; changed by ModelRegistry and by leases."""

    def __init__(self, file: ModelFile) -> None:
        self.file = file
        self.state = ModelState.UNLOADED
        self.settings = LoadSettings()
        self._proven_settings = self.settings
        self.progress = 0.0
        self.failure: Failure | None = None
        self.loaded_at: datetime | None = None
        self.tokens_processed = 0
        self.loading: asyncio.Task[None] | None = None
        self.draining: asyncio.Task[None] | None = None
        self._worker: Worker | None = None
        self._leases = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy_seconds = 0.0
        self._busy_since = 0.0
        self.refresh(file)

    @property
    def id(self) -> str:
        """The model's id."""
        return self.file.id

    @property
    def worker(self) -> Worker:
        """The process that has the model. Only while it is loaded or draining."""
        assert self._worker is not None, "a lease keeps the worker"
        return self._worker

    @property
    def is_in_memory(self) -> bool:
        """Whether a worker holds the model."""
        return self._worker is not None

    def is_held_by(self, worker: Worker) -> bool:
        """Whether it is this worker that holds the model."""
        return self._worker is worker

    @property
    def n_requests(self) -> int:
        """Requests that use the model now."""
        return self._leases

    @property
    def average_speed(self) -> float:
        """Tokens per second of the time in which at least one request ran."""
        busy = self._busy_seconds
        if self._leases:
            busy += time.monotonic() - self._busy_since
        return round(self.tokens_processed / busy, 1) if busy > 0 else 0.0

    def refresh(self, file: ModelFile) -> None:
        """Take what the disk says now."""
        self.file = file
        if self.state in (ModelState.UNLOADED, ModelState.BROKEN):
            self.state = ModelState.BROKEN if file.broken else ModelState.UNLOADED

    def acquire(self) -> None:
        """Count one more user."""
        if self._leases == 0:
            self._busy_since = time.monotonic()
        self._leases += 1
        self._idle.clear()

    def release(self, usage: TokenUsage) -> None:
        """Count one user less, and the tokens it was given."""
        self._leases -= 1
        self.tokens_processed += usage.prompt + usage.completion
        if self._leases == 0:
            self._busy_seconds += time.monotonic() - self._busy_since
            self._idle.set()

    async def wait_idle(self) -> None:
        """Until nobody uses the model."""
        await self._idle.wait()

    # -- transitions

    def queue(self, settings: LoadSettings) -> None:
        """A load was asked for."""
        self.state = ModelState.QUEUED
        self.settings = settings
        self.progress = 0.0
        self.failure = None

    def report_progress(self, fraction: float) -> None:
        """So much of the model is loaded."""
        self.state = ModelState.LOADING
        self.progress = fraction

    def attach(self, worker: Worker) -> None:
        """The model is loaded."""
        self._worker = worker
        self._proven_settings = self.settings
        self.state = ModelState.LOADED
        self.progress = 1.0
        self.loaded_at = utc_now()

    def drain(self) -> None:
        """No new users."""
        self.state = ModelState.DRAINING

    def detach(self, failure: Failure | None = None) -> None:
        """The model is out of memory: as wished, or because of `failure`.

        Settings that a load failed with are forgotten, so that they fail no request but their own.
        """
        self._worker = None
        if failure:
            self.settings = self._proven_settings
        self.loaded_at = None
        self.failure = failure
        self.state = ModelState.FAILED if failure else ModelState.UNLOADED
        self.refresh(self.file)
