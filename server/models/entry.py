"""ModelEntry: one model, its settings and its state. Makes no decisions; publishes every change."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from server.catalogue.model_file import ModelFile
from server.formats import utc_now
from server.models.clock import Clock
from server.models.crash_guard import CrashGuard
from server.models.events import LoadProgress, ModelEvent, StateChanged, UseChanged
from server.models.leases import Leases
from server.models.state import TRANSITIONS, Failure, ModelState, UnloadReason
from server.protocol.load_settings import LoadSettings
from server.protocol.loading import DeviceMemory
from server.supervisor.interface import Worker

if TYPE_CHECKING:
    from datetime import datetime

    from server.catalogue.projectors import ProjectorFile

Publish = Callable[[ModelEvent], None]
DefaultsOf = Callable[[ModelFile], LoadSettings]


@dataclass(slots=True)
class Drain:
    """An unload in progress: its reason, its task, and the event that cuts off running answers."""

    reason: UnloadReason
    task: asyncio.Task[None]
    cut: asyncio.Event


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """The settings of a load: as requested, and combined with the model's defaults."""

    requested: LoadSettings
    settings: LoadSettings


class ModelEntry:
    """One model as the server knows it. Event loop only; changed by loader, unloader and registry.

    `defaults` are the settings from the server's configuration and the model's file; those of a
    load override them. `ttl_seconds` applies where no settings give a `ttl`.
    """

    def __init__(
        self,
        file: ModelFile,
        defaults_of: DefaultsOf,
        clock: Clock,
        publish: Publish,
        *,
        ttl_seconds: float = math.inf,
    ) -> None:
        self.file = file
        self.state = ModelState.BROKEN if file.broken else ModelState.UNLOADED
        self._defaults_of = defaults_of
        self.defaults = defaults_of(file)
        self.load_request = self._last_load_request = LoadRequest(LoadSettings(), self.defaults)
        self._has_new_defaults = False
        # The projector found beside the model that could not be used, and why.
        self._unusable_projector: ProjectorFile | None = None
        self._projector_warning = ""
        self.progress = 0.0
        self.failure: Failure | None = None
        self.loaded_at: datetime | None = None
        self.load_seconds: float | None = None
        self._ttl_seconds = ttl_seconds
        self._ttl_override: float | None = None
        self.guard = CrashGuard(clock)
        self.loading: asyncio.Task[None] | None = None
        self.draining: Drain | None = None
        # It was unloaded for a reload: if that fails, load it again with its previous settings.
        self.restore_on_failure = False
        # Number of unload requests: loads and requests that waited before the latest one give up.
        self.n_unload_requests = 0
        # Memory is reserved for its load: it counts for the budget, even if its size is unknown.
        self.has_reservation = False
        self.reserved: tuple[DeviceMemory, ...] = ()
        self.leases = Leases(clock, self._publish_use)
        self._clock = clock
        self._publish = publish
        self._worker: Worker | None = None
        self._load_began = 0.0

    @property
    def id(self) -> str:
        """The model's id."""
        return self.file.id

    @property
    def worker(self) -> Worker:
        """The process that holds the model. Only while it is loaded or draining."""
        assert self._worker is not None, "a lease keeps the worker"
        return self._worker

    @property
    def is_in_memory(self) -> bool:
        """Whether a worker holds the model."""
        return self._worker is not None

    def is_held_by(self, worker: Worker) -> bool:
        """Whether `worker` is the process that holds the model."""
        return self._worker is worker

    @property
    def settings(self) -> LoadSettings:
        """The settings it is loaded with, or would be loaded with by the next request."""
        return self.load_request.settings

    def load_request_for(self, requested: LoadSettings | None) -> LoadRequest:
        """The request for a load with these settings; None repeats the last one.

        Raises InvalidParameterError if a required setting is missing.
        """
        if requested is None:
            return self.load_request
        settings = requested.over(self.defaults)
        settings.check_complete()
        return LoadRequest(requested, settings)

    def give_up_projector(self, request: LoadRequest, param: str | None, detail: str) -> bool:
        """Drop the projector that was found beside the model, if a load failed because of it.

        False if the failure has another cause, or the request or the configuration names the file.
        """
        projector = self.file.projector
        name = request.settings.mmproj
        if param != "mmproj" or projector is None or request.requested.mmproj is not None:
            return False
        if name != projector.name or self.defaults.mmproj != name:
            return False
        self._unusable_projector = projector
        self._projector_warning = f"mmproj: {name}, found beside the model, is not used: {detail}"
        self._take_defaults()
        return True

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about settings that could not be applied; () while it is not in memory."""
        if self._worker is None:
            return ()
        own = (self._projector_warning,) if self._projector_warning else ()
        return (*own, *self._worker.model.warnings)

    def _take_defaults(self) -> None:
        defaults = self._defaults_of(self.file)
        if self.file.projector is None or self.file.projector != self._unusable_projector:
            self._unusable_projector, self._projector_warning = None, ""
        elif defaults.mmproj == self.file.projector.name:
            defaults = msgspec.structs.replace(defaults, mmproj=None)
        self._has_new_defaults |= defaults != self.defaults
        self.defaults = defaults

    @property
    def ttl(self) -> float:
        """Idle seconds before it is unloaded; inf is never."""
        chosen = self.settings.ttl if self._ttl_override is None else self._ttl_override
        if chosen is None:
            return self._ttl_seconds
        return chosen if chosen >= 0 else math.inf

    @property
    def is_pinned(self) -> bool:
        """Whether it stays in memory until a client unloads it by name."""
        return bool(self.settings.pinned)

    @property
    def memory(self) -> tuple[DeviceMemory, ...]:
        """Memory it takes on each device: measured once loaded, estimated while it loads."""
        if self._worker is None:
            return self.reserved
        model = self._worker.model
        return model.devices or (DeviceMemory.on_host(model.memory_bytes),)

    def refresh(self, file: ModelFile) -> None:
        """Take the file as the scan found it; if it changed, forget crashes and failures."""
        if file != self.file:
            self.guard.reset()
            if self.state is ModelState.FAILED:
                self.failure = None
                self._become(ModelState.BROKEN if file.broken else ModelState.UNLOADED)
            self.file = file
            self._take_defaults()
        if self._has_new_defaults and self._worker is None and self.loading is None:
            self._has_new_defaults = False
            requested = self.load_request.requested
            self.load_request = LoadRequest(requested, requested.over(self.defaults))
            self._last_load_request = self.load_request
        if self.state in (ModelState.UNLOADED, ModelState.BROKEN):
            self._become(ModelState.BROKEN if file.broken else ModelState.UNLOADED)

    def request_unload(self) -> None:
        """Count a request to unload: earlier waiters give up, a failed reload restores nothing."""
        self.n_unload_requests += 1
        self.restore_on_failure = False

    def keep_loaded(self, load_request: LoadRequest) -> None:
        """Take a request that needs no reload: only `ttl` and `pinned` may differ."""
        self.load_request = self._last_load_request = load_request
        self._ttl_override = None
        self.leases.touch()
        self._publish_use()

    def override_ttl(self, seconds: float) -> None:
        """Override the ttl until the model is unloaded or a load gives new settings."""
        self._ttl_override = seconds
        self._publish_use()

    # -- transitions

    def queue(self, load_request: LoadRequest) -> None:
        """A load was requested."""
        self.load_request = load_request
        self.progress = 0.0
        self.failure = None
        self._become(ModelState.QUEUED)

    def reserve(self, devices: tuple[DeviceMemory, ...]) -> None:
        """Memory is reserved for the load; `devices` is the estimate, empty if unknown."""
        self.has_reservation = True
        self.reserved = devices

    def release_reservation(self) -> None:
        """The reserved memory is in use now, or no longer needed."""
        self.has_reservation = False
        self.reserved = ()

    def start_loading(self) -> None:
        """Memory is reserved and a load slot is free: the worker begins to load."""
        self._load_began = self._clock.now()
        self._become(ModelState.LOADING)

    def report_progress(self, fraction: float) -> None:
        """Publish the fraction of the model that is loaded, 0.0 to 1.0."""
        self.progress = fraction
        self._publish(LoadProgress(model=self.id, progress=round(fraction, 3)))

    def attach(self, worker: Worker) -> None:
        """The model is loaded."""
        self._worker = worker
        self._last_load_request = self.load_request
        self.restore_on_failure = False
        self.release_reservation()
        self.progress = 1.0
        self.loaded_at = utc_now()
        self.leases.touch()
        self.load_seconds = round(self._clock.now() - self._load_began, 3)
        self._become(ModelState.LOADED)

    def drain(self, drain: Drain) -> None:
        """Give no new leases."""
        self.draining = drain
        self._become(ModelState.DRAINING, reason=drain.reason)

    def detach(self, reason: UnloadReason) -> None:
        """The model was unloaded, without a failure."""
        self._forget_worker()
        self._become(ModelState.UNLOADED, reason=reason)
        self.refresh(self.file)

    def fail(self, failure: Failure) -> None:
        """The model is not in memory because of `failure`.

        The settings of a failed load are dropped: later requests use the last ones that loaded.
        """
        self._forget_worker()
        self.load_request = self._last_load_request
        self.failure = failure
        self._become(ModelState.FAILED, reason=failure.reason, detail=failure.detail)

    def _forget_worker(self) -> None:
        self._worker = None
        self._ttl_override = None
        self.release_reservation()
        self.loaded_at = None
        self.load_seconds = None

    def _publish_use(self) -> None:
        self._publish(UseChanged(model=self.id, n_requests=self.leases.n_requests))

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
