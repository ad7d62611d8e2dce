"""IdleUnloader: unloads models that have been idle for their ttl."""

import math

from server.models.clock import Clock, Timer
from server.models.entry import ModelEntry
from server.models.event_bus import EventBus
from server.models.events import ModelEvent, StateChanged, UseChanged
from server.models.index import ModelIndex
from server.models.state import ModelState, UnloadReason
from server.models.unloader import ModelUnloader


class IdleUnloader:
    """Starts a timer when a model becomes idle and cancels it at the next use. Event loop only.

    Pinned models have no timer.
    """

    def __init__(
        self,
        index: ModelIndex,
        unloader: ModelUnloader,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        self._index = index
        self._unloader = unloader
        self._clock = clock
        self._timers: dict[str, Timer] = {}
        bus.listen(self._on_event)

    def _on_event(self, event: ModelEvent) -> None:
        if isinstance(event, StateChanged | UseChanged):
            self._set_timer(event.model)

    def _set_timer(self, model_id: str) -> None:
        timer = self._timers.pop(model_id, None)
        if timer is not None:
            timer.cancel()
        entry = self._index.get(model_id)
        if entry is not None and (ttl := self._ttl_of(entry)) is not None:
            self._timers[model_id] = self._clock.call_later(ttl, lambda: self._expire(entry))

    def _ttl_of(self, entry: ModelEntry) -> float | None:
        """Seconds until an idle model is unloaded; None if it stays loaded."""
        stays = entry.state is not ModelState.LOADED or not entry.leases.is_idle or entry.is_pinned
        return None if stays or entry.ttl == math.inf else entry.ttl

    def _expire(self, entry: ModelEntry) -> None:
        self._timers.pop(entry.id, None)
        if self._ttl_of(entry) is not None:
            self._unloader.begin(entry, UnloadReason.IDLE)
