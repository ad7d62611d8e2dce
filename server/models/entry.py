"""ModelEntry: one model, its state, and who uses it. Decides nothing; says what happened."""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.catalogue.catalogue import ModelFile
from server.formats import utc_now
from server.models.clock import Clock
from server.models.crash_guard import CrashGuard
from server.models.events import LoadProgress, ModelEvent, StateChanged, UseChanged
from server.models.state import TRANSITIONS, Failure, ModelState, UnloadReason
from server.protocol.load_settings import LoadSettings
from server.protocol.messages import DeviceMemory
from server.streams.token_stream import TokenStream
from server.supervisor.interface import Worker

if TYPE_CHECKING:
    from datetime import datetime

Publish = Callable[[ModelEvent], None]


@dataclass(slots=True)
class Drain:
    """A model on its way out of memory: why, the task that does it, and the order to hurry."""

    reason: UnloadReason
    task: asyncio.Task[None]
    cut: asyncio.Event


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """How a model is to be loaded: what somebody asked for, and that over the model's defaults."""

    requested: LoadSettings
    settings: LoadSettings


class ModelEntry:
    """One model as the server knows it. Loop only; changed by the loader, the unloader, leases.

    `defaults` are what the server's configuration says about it; a load's own settings go over
    them. `ttl_seconds` is its time to live where no settings say another one.
    """

    def __init__(
        self,
        file: ModelFile,
        defaults: LoadSettings,
        clock: Clock,
        publish: Publish,
        *,
        ttl_seconds: float = math.inf,
    ) -> None:
        self.file = file
        self.state = ModelState.BROKEN if file.broken else ModelState.UNLOADED
        self.defaults = defaults
        self.order = self._proven_order = LoadOrder(LoadSettings(), defaults)
        self.progress = 0.0
        self.failure: Failure | None = None
        self.loaded_at: datetime | None = None
        self.load_seconds: float | None = None
        self._n_tokens = 0
        self._ttl_seconds = ttl_seconds
        self._stay_seconds: float | None = None
        self.guard = CrashGuard(clock)
        self.loading: asyncio.Task[None] | None = None
        self.draining: Drain | None = None
        # It was given up for a reload: should that fail, it comes back as it was.
        self.is_owed = False
        # How often somebody wished it gone: what waited for it before does not bring it back.
        self.unload_orders = 0
        # Whether it has its place among the others: from then on it counts, whatever it takes.
        self.has_reservation = False
        self.reserved: tuple[DeviceMemory, ...] = ()
        self.last_used = clock.now()
        self._clock = clock
        self._publish = publish
        self._worker: Worker | None = None
        self._load_began = 0.0
        self._streams: set[TokenStream] = set()
        self._claims = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy_seconds = 0.0
        self._busy_since = 0.0

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
        return len(self._streams)

    @property
    def is_idle(self) -> bool:
        """Whether nobody uses it, or has waited for it and is just about to."""
        return not self._streams and not self._claims

    @property
    def settings(self) -> LoadSettings:
        """What it is loaded with, or would be by the next request."""
        return self.order.settings

    def order_of(self, requested: LoadSettings | None) -> LoadOrder:
        """How a load with these settings would be; None is as the last one was. Raises
        InvalidParameterError where something is missing.
        """
        if requested is None:
            return self.order
        settings = requested.over(self.defaults)
        settings.check_complete()
        return LoadOrder(requested, settings)

    @property
    def ttl(self) -> float:
        """Seconds until it has to go when nobody uses it; inf is for ever."""
        chosen = self.settings.ttl if self._stay_seconds is None else self._stay_seconds
        if chosen is None:
            return self._ttl_seconds
        return chosen if chosen >= 0 else math.inf

    @property
    def idle_seconds(self) -> float:
        """How long nobody has used it."""
        return self._clock.now() - self.last_used if self.is_idle else 0.0

    @property
    def is_pinned(self) -> bool:
        """Whether it stays in memory until somebody unloads it by name."""
        return bool(self.settings.pinned)

    @property
    def memory(self) -> tuple[DeviceMemory, ...]:
        """What it takes by device: measured when loaded, estimated while it loads."""
        if self._worker is None:
            return self.reserved
        model = self._worker.model
        return model.devices or (DeviceMemory.on_host(model.memory_bytes),)

    @property
    def tokens_processed(self) -> int:
        """Of prompts and answers, those of requests that run included."""
        return self._n_tokens + sum(stream.usage.total for stream in self._streams)

    @property
    def average_speed(self) -> float:
        """Tokens per second of the time in which at least one request ran."""
        busy = self._busy_seconds
        if self._streams:
            busy += self._clock.now() - self._busy_since
        return round(self.tokens_processed / busy, 1) if busy > 0 else 0.0

    def refresh(self, file: ModelFile) -> None:
        """Take what the disk says now; another file under the same id starts with a clean slate."""
        if file != self.file:
            self.guard.reset()
            if self.state is ModelState.FAILED:
                self.failure = None
                self._become(ModelState.BROKEN if file.broken else ModelState.UNLOADED)
        self.file = file
        if self.state in (ModelState.UNLOADED, ModelState.BROKEN):
            self._become(ModelState.BROKEN if file.broken else ModelState.UNLOADED)

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Somebody waits for the model: once it is there it must not be taken away again before
        they had it. A drain does not wait for claims.
        """
        self._claims += 1
        try:
            yield
        finally:
            self._claims -= 1
            if self.is_idle:
                self._publish(UseChanged(model=self.id, n_requests=0))

    def acquire(self, stream: TokenStream) -> None:
        """Count one more user."""
        self._streams.add(stream)
        self.last_used = self._clock.now()
        if len(self._streams) == 1:
            self._busy_since = self.last_used
            self._idle.clear()
            self._publish(UseChanged(model=self.id, n_requests=1))

    def release(self, stream: TokenStream) -> None:
        """Count one user less, and the tokens it was given."""
        self._streams.remove(stream)
        self._n_tokens += stream.usage.total
        self.last_used = self._clock.now()
        if not self._streams:
            self._busy_seconds += self.last_used - self._busy_since
            self._idle.set()
            self._publish(UseChanged(model=self.id, n_requests=0))

    async def wait_idle(self) -> None:
        """Until nobody uses the model."""
        await self._idle.wait()

    def order_unload(self) -> None:
        """Somebody wishes it gone, whatever was asked for before."""
        self.unload_orders += 1
        self.is_owed = False

    def keep(self, order: LoadOrder) -> None:
        """Take settings that the loaded engine has already: only how long it stays may differ."""
        self.order = self._proven_order = order
        self._stay_seconds = None
        self.last_used = self._clock.now()
        self._publish(UseChanged(model=self.id, n_requests=self.n_requests))

    def stay(self, seconds: float) -> None:
        """Have another time to live until this stay in memory ends, or a load says another one."""
        self._stay_seconds = seconds
        self._publish(UseChanged(model=self.id, n_requests=self.n_requests))

    # -- transitions

    def queue(self, order: LoadOrder) -> None:
        """A load was asked for."""
        self.order = order
        self.progress = 0.0
        self.failure = None
        self._become(ModelState.QUEUED)

    def reserve(self, devices: tuple[DeviceMemory, ...]) -> None:
        """It has its place; `devices` is what it will take, as far as that is known."""
        self.has_reservation = True
        self.reserved = devices

    def release_reservation(self) -> None:
        """What was reserved is in use now, or is not needed any more."""
        self.has_reservation = False
        self.reserved = ()

    def start_loading(self) -> None:
        """It has its room and its turn."""
        self._load_began = self._clock.now()
        self._become(ModelState.LOADING)

    def report_progress(self, fraction: float) -> None:
        """So much of the model is loaded."""
        self.progress = fraction
        self._publish(LoadProgress(model=self.id, progress=round(fraction, 3)))

    def attach(self, worker: Worker) -> None:
        """The model is loaded."""
        self._worker = worker
        self._proven_order = self.order
        self.is_owed = False
        self.release_reservation()
        self.progress = 1.0
        self.loaded_at = utc_now()
        self.last_used = self._clock.now()
        self.load_seconds = round(self.last_used - self._load_began, 3)
        self._become(ModelState.LOADED)

    def drain(self, drain: Drain) -> None:
        """No new users."""
        self.draining = drain
        self._become(ModelState.DRAINING, reason=drain.reason)

    def detach(self, reason: UnloadReason) -> None:
        """The model is out of memory, as wished."""
        self._forget_worker()
        self._become(ModelState.UNLOADED, reason=reason)
        self.refresh(self.file)

    def fail(self, failure: Failure) -> None:
        """The model is out of memory because of `failure`.

        Settings that a load failed with are forgotten, so that they fail no request but their own.
        """
        self._forget_worker()
        self.order = self._proven_order
        self.failure = failure
        self._become(ModelState.FAILED, reason=failure.reason, detail=failure.detail)

    def _forget_worker(self) -> None:
        self._worker = None
        self._stay_seconds = None
        self.release_reservation()
        self.loaded_at = None
        self.load_seconds = None

    def _become(
        self, state: ModelState, *, reason: str | None = None, detail: str | None = None
    ) -> None:
        previous, self.state = self.state, state
        if state is previous:
            return
        assert state in TRANSITIONS[previous], f"{self.id}: {previous} to {state}"
        self._publish(
            StateChanged(
                model=self.id,
                status=state.value,
                previous=previous.value,
                reason=reason,
                detail=detail,
                seconds=self.load_seconds,
            )
        )
