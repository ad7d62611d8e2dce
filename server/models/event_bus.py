"""EventBus: tells listeners and subscribers what happens to models. Never waits for any of them."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from server.models.events import Lagged, LoadProgress, ModelEvent, PublicEvent, UseChanged
from server.streams.wakeup import Wakeup

logger = logging.getLogger(__name__)
_MAX_WAITING = 256

Listener: TypeAlias = Callable[[ModelEvent], None]


class Subscription:
    """One reader's events, at most `limit` of them. Loop only; one reader.

    A reader that falls behind misses the oldest ones and is told how many. Of a load's progress
    only the newest figure waits.
    """

    def __init__(self, model: str | None = None, limit: int = _MAX_WAITING) -> None:
        self._model = model
        self._limit = limit
        self._waiting: deque[ModelEvent] = deque()
        self._missed = 0
        self._closed = False
        self._wakeup = Wakeup()

    def offer(self, event: ModelEvent) -> None:
        """Take an event, if it is one for this reader."""
        if isinstance(event, UseChanged) or self._model not in (None, event.model):
            return
        if isinstance(event, LoadProgress) and self._is_newer_progress(event):
            self._waiting.pop()
        elif len(self._waiting) >= self._limit:
            self._waiting.popleft()
            self._missed += 1
        self._waiting.append(event)
        self._wakeup.ring()

    def end(self) -> None:
        """Nothing more will come."""
        self._closed = True
        self._wakeup.ring()

    @property
    def has_ended(self) -> bool:
        """Whether nothing waits and nothing more will come."""
        return self._closed and not self._waiting and not self._missed

    async def next(self, patience: float | None = None) -> PublicEvent | None:
        """The next event; None when `patience` seconds brought nothing, or at the end."""
        while not self._waiting and not self._closed:
            if not await self._wakeup.wait(patience):
                return None
        if self._missed:
            missed, self._missed = self._missed, 0
            return Lagged(missed=missed)
        if not self._waiting:
            return None
        event = self._waiting.popleft()
        assert not isinstance(event, UseChanged), "offer takes none"
        return event

    def _is_newer_progress(self, event: LoadProgress) -> bool:
        last = self._waiting[-1] if self._waiting else None
        return isinstance(last, LoadProgress) and last.model == event.model


class EventBus:
    """Passes every event to all listeners at once, and to every subscription. Loop only."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    def listen(self, listener: Listener) -> None:
        """Have `listener` called with every event, in the order of registration.

        It must not wait; an exception of it is logged and harms nobody else.
        """
        self._listeners.append(listener)

    def publish(self, event: ModelEvent) -> None:
        """Tell everybody."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("a listener failed on %r", event)
        for subscription in self._subscriptions:
            subscription.offer(event)

    @contextmanager
    def subscribe(self, model: str | None = None) -> Iterator[Subscription]:
        """All events from now on, or those of one model."""
        subscription = Subscription(model)
        if self._closed:
            subscription.end()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every subscription, so that no stream of events outlives the server's work."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.end()
