"""MemoryReserver: makes sure that a model fits before it is loaded, evicting idle models."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from types import MappingProxyType

from server.errors import ApiError, UnavailableError, load_error
from server.formats import byte_size
from server.models.clock import Clock
from server.models.entry import ModelEntry
from server.models.event_bus import EventBus
from server.models.events import ModelEvent, ModelEvicted, StateChanged, UseChanged
from server.models.index import ModelIndex
from server.models.memory_budget import (
    HOST,
    MODELS,
    EvictionPlan,
    Holder,
    MemoryBudget,
    amounts_of,
    free_of,
    hidden_of,
)
from server.models.state import ModelState, UnloadReason
from server.models.unloader import ModelUnloader
from server.protocol.load_settings import LoadSettings
from server.protocol.loading import Estimated, HostBudget
from server.supervisor.interface import Estimator, LoadFailedError

logger = logging.getLogger(__name__)
_RETRY_SECONDS = 10
# All are pinned: a client must unload one by name.
_PINNED_RETRY_SECONDS = 60
# Other programs allocate and free memory too, without an event here.
_RECHECK_SECONDS = 1.0
# How long a busy model still gets new requests while a load waits for its memory.
_DRAIN_AFTER_SECONDS = 5.0


class MemoryReserver:
    """Reserves memory for loads: evicts idle models, least recently used first. Event loop only.

    If that does not suffice, it waits for busy models. After `drain_after_seconds` they are
    drained: their new requests wait until they are loaded again. So running answers are never cut
    off, and a load does not starve.
    """

    def __init__(  # noqa: PLR0913 - the wiring of create_app
        self,
        index: ModelIndex,
        unloader: ModelUnloader,
        estimate: Estimator,
        budget: MemoryBudget,
        bus: EventBus,
        clock: Clock,
        *,
        wait_seconds: float,
        drain_after_seconds: float = _DRAIN_AFTER_SECONDS,
    ) -> None:
        self._index = index
        self._unloader = unloader
        self._estimate = estimate
        self._budget = budget
        self._bus = bus
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._drain_after_seconds = drain_after_seconds
        self._change = asyncio.Event()
        # Models whose memory is being reserved, in the order of their requests.
        self._waiting: list[ModelEntry] = []
        bus.listen(self._on_event)

    async def reserve(self, entry: ModelEntry) -> Estimated | None:
        """Returns the estimate when its memory is reserved; None if none could be made.

        Raises LoadFailedError, or ApiError: 507 if it can never fit, 503 if others stay busy.
        """
        self._waiting.append(entry)
        try:
            return await self._reserve_in_turn(entry)
        finally:
            self._waiting.remove(entry)
            self._wake()

    async def _reserve_in_turn(self, entry: ModelEntry) -> Estimated | None:
        """Loads that fit now go ahead; those that need the memory of other models get it in the
        order of their requests.
        """
        began = self._clock.now()
        estimated = await self._estimate_now(entry)
        while True:
            # Taken before the plan is made, so that no later change is missed.
            change = self._change
            plan = self._plan(entry, estimated)
            devices = estimated.devices if estimated else ()
            if plan.missing:
                raise _out_of_memory(entry, plan)
            if not plan.evict and not plan.wait_for:
                # No await since the plan was made: no other load can have taken the memory.
                entry.reserve(devices)
                return estimated
            if self._waiting[0] is not entry:
                if self._clock.now() - began >= self._wait_seconds:
                    raise _still_busy(entry, (*plan.evict, *plan.wait_for))
                changed = await _wait(change)
            elif plan.evict:
                # Reserved before it is free, so that no other load takes what this one evicts.
                entry.reserve(devices)
                await self._evict(entry, plan.evict)
                changed = True
            else:
                waited = self._clock.now() - began
                if waited >= self._wait_seconds:
                    raise _still_busy(entry, plan.wait_for)
                if waited >= self._drain_after_seconds:
                    entry.reserve(devices)
                    self._begin_drains(entry, plan.wait_for)
                changed = await _wait(change)
            if changed:
                estimated = await self._estimate_now(entry)

    async def check(self, entry: ModelEntry, settings: LoadSettings) -> None:
        """Raise ApiError (507) or LoadFailedError if the model cannot be reloaded with `settings`.

        Changes nothing and evicts no model.
        """
        estimated = await self._estimate_now(entry, settings)
        plan = self._plan_reload(entry, estimated)
        if plan.missing:
            raise _out_of_memory(entry, plan)

    async def preview(
        self, entry: ModelEntry, settings: LoadSettings
    ) -> tuple[Estimated, EvictionPlan]:
        """The memory a load with `settings` would take, and the models to unload for it.

        Changes nothing. Raises LoadFailedError.
        """
        estimated = await self._estimate(
            entry.id, entry.file.path, settings, self._host_budget(entry)
        )
        return estimated, self._plan_reload(entry, estimated)

    def _plan_reload(self, entry: ModelEntry, estimated: Estimated | None) -> EvictionPlan:
        """The plan for a load; the model's own memory counts as free, if it is in memory now."""
        return self._plan(entry, estimated, _given_back(entry))

    async def _estimate_now(
        self, entry: ModelEntry, settings: LoadSettings | None = None
    ) -> Estimated | None:
        """The estimate, with the memory that is free now; None if it cannot be made."""
        try:
            settings = settings or entry.settings
            return await self._estimate(
                entry.id, entry.file.path, settings, self._host_budget(entry)
            )
        except LoadFailedError as error:
            if error.reason != "unknown":
                raise
            logger.warning("model %s: its memory cannot be estimated: %s", entry.id, error.detail)
            return None

    def _plan(
        self,
        entry: ModelEntry,
        estimated: Estimated | None,
        given_back: Mapping[str, int] = MappingProxyType({}),
    ) -> EvictionPlan:
        devices = estimated.devices if estimated else ()
        free = {name: n + given_back.get(name, 0) for name, n in free_of(devices).items()}
        return self._budget.plan(amounts_of(devices), free, self._holders(entry))

    def _host_budget(self, entry: ModelEntry) -> HostBudget:
        """The host memory that a load of the model may take."""
        others = self._holders(entry)
        hidden = sum(other.hidden.get(HOST, 0) for other in others)
        limit = self._budget.remaining(HOST, others)
        return HostBudget(limit, _given_back(entry).get(HOST, 0) - hidden)

    def _holders(self, entry: ModelEntry) -> list[Holder]:
        """The other models that hold or have reserved memory."""
        return [
            Holder(
                id=other.id,
                amounts=amounts_of(other.memory),
                last_used=other.leases.last_used,
                is_idle=other.leases.is_idle and other.state is ModelState.LOADED,
                is_pinned=other.is_pinned,
                hidden=(hidden_of if other.is_in_memory else amounts_of)(other.memory),
            )
            for other in self._index.entries
            if other is not entry and (other.is_in_memory or other.has_reservation)
        ]

    async def _evict(self, entry: ModelEntry, names: tuple[str, ...]) -> None:
        drains = self._begin_drains(entry, names)
        if drains:
            await asyncio.wait(drains)

    def _begin_drains(self, entry: ModelEntry, names: tuple[str, ...]) -> set[asyncio.Task[None]]:
        drains = set()
        for name in names:
            other = self._index.get(name)
            if other is not None and other.state is ModelState.LOADED:
                logger.info("model %s: evicted to free memory for %s", name, entry.id)
                self._bus.publish(ModelEvicted(model=name, for_model=entry.id))
                drains.add(self._unloader.begin(other, UnloadReason.EVICTED).task)
        return drains

    def _on_event(self, event: ModelEvent) -> None:
        if isinstance(event, StateChanged | UseChanged):
            self._wake()

    def _wake(self) -> None:
        self._change.set()
        self._change = asyncio.Event()


async def _wait(change: asyncio.Event) -> bool:
    """True once an event came; False after _RECHECK_SECONDS without one."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_RECHECK_SECONDS):
            await change.wait()
    return change.is_set()


def _given_back(entry: ModelEntry) -> Mapping[str, int]:
    """What unloading the model adds to the memory that is reported as free."""
    if not entry.is_in_memory:
        return {}
    hidden = hidden_of(entry.memory)
    return {name: n - hidden.get(name, 0) for name, n in amounts_of(entry.memory).items()}


def _out_of_memory(entry: ModelEntry, plan: EvictionPlan) -> ApiError:
    if MODELS in plan.missing:
        error: ApiError = UnavailableError(
            f"model {entry.id!r} cannot be loaded: --models-max limits the number of loaded "
            "models, and all that are loaded are pinned; unload one first",
            code="too_many_models",
            retry_after=_PINNED_RETRY_SECONDS,
        )
        error.extra["reason"] = "too_many_models"
        return error
    sentences = [
        f"needs {byte_size(lack.needed)} of {'host memory' if name == HOST else name}, "
        f"{byte_size(lack.free)} is free, at most {byte_size(lack.available)} after unloading "
        "other models"
        for name, lack in plan.missing.items()
    ]
    error = load_error("out_of_memory", f"model {entry.id!r} " + "; ".join(sentences))
    error.extra["devices"] = plan.shortages()
    return error


def _still_busy(entry: ModelEntry, names: tuple[str, ...]) -> ApiError:
    error = UnavailableError(
        f"model {entry.id!r} timed out waiting for the memory of busy models "
        f"({', '.join(names)}); retry in {_RETRY_SECONDS} s",
        code="memory_busy",
        retry_after=_RETRY_SECONDS,
    )
    error.extra["reason"] = "memory_busy"
    return error
