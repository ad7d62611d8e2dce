"""IdleUnloader: unloads models that nobody has used for their time to live."""

import math

from server.models.clock import Clock, Timer
from server.models.entry import ModelEntry
from server.models.event_bus import EventBus
from server.models.events import ModelEvent, StateChanged, UseChanged
from server.models.index import ModelIndex
from server.models.state import ModelState, UnloadReason
from server.models.unloader import ModelUnloader


class IdleUnloader:
    """Sets a timer whenever a model falls idle and stops it at the next use. Loop only.

    A pinned model stays.
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
        """Seconds until an idle model has to go; None while it need not."""
        stays = entry.state is not ModelState.LOADED or not entry.is_idle or entry.is_pinned
        return None if stays or entry.ttl == math.inf else entry.ttl

    def _expire(self, entry: ModelEntry) -> None:
        self._timers.pop(entry.id, None)
        if self._ttl_of(entry) is not None:
            self._unloader.begin(entry, UnloadReason.IDLE)
