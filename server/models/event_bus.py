"""EventBus: passes model events to listeners and subscribers without waiting for any of them."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from server.models.events import (
    DownloadChanged,
    Lagged,
    LoadProgress,
    ModelEvent,
    ModelsChanged,
    PublicEvent,
    UseChanged,
)
from server.streams.wakeup import Wakeup

logger = logging.getLogger(__name__)
_MAX_QUEUED = 256

Listener: TypeAlias = Callable[[ModelEvent], None]


class Subscription:
    """A queue of events for one reader, at most `limit` long. Event loop only; one reader.

    A reader that falls behind loses the oldest events and gets a Lagged with their number. A
    progress event replaces the one before it, and a download's event the earlier one of it. Of one
    model's events downloads are no part.
    """

    def __init__(self, model: str | None = None, limit: int = _MAX_QUEUED) -> None:
        self._model = model
        self._limit = limit
        self._queue: deque[ModelEvent] = deque()
        self._missed = 0
        self._closed = False
        self._wakeup = Wakeup()

    def offer(self, event: ModelEvent) -> None:
        """Queue an event, if it is for this reader."""
        if isinstance(event, UseChanged) or not self._is_wanted(event):
            return
        if isinstance(event, DownloadChanged):
            self._drop_older(event)
        if isinstance(event, LoadProgress) and self._is_newer_progress(event):
            self._queue.pop()
        elif len(self._queue) >= self._limit:
            self._queue.popleft()
            self._missed += 1
        self._queue.append(event)
        self._wakeup.notify()

    def end(self) -> None:
        """End the subscription; the reader still gets what is queued."""
        self._closed = True
        self._wakeup.notify()

    @property
    def has_ended(self) -> bool:
        """Whether the subscription has ended and its queue is empty."""
        return self._closed and not self._queue and not self._missed

    async def next(self, timeout_seconds: float | None = None) -> PublicEvent | None:
        """The next event; None after `timeout_seconds` without one, or at the end."""
        while not self._queue and not self._closed:
            if not await self._wakeup.wait(timeout_seconds):
                return None
        if self._missed:
            missed, self._missed = self._missed, 0
            return Lagged(missed=missed)
        if not self._queue:
            return None
        event = self._queue.popleft()
        assert not isinstance(event, UseChanged), "offer() drops them"
        return event

    def _is_wanted(self, event: ModelEvent) -> bool:
        if self._model is None:
            return True
        return not isinstance(event, DownloadChanged | ModelsChanged) and event.model == self._model

    def _drop_older(self, event: DownloadChanged) -> None:
        """Drop the queued event of the same download: the newer one has all of it."""
        for older in self._queue:
            if isinstance(older, DownloadChanged) and (
                older.download["id"] == event.download["id"]
            ):
                self._queue.remove(older)
                return

    def _is_newer_progress(self, event: LoadProgress) -> bool:
        last = self._queue[-1] if self._queue else None
        return isinstance(last, LoadProgress) and last.model == event.model


class EventBus:
    """Calls all listeners with every event, then queues it for subscribers. Event loop only."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    def listen(self, listener: Listener) -> None:
        """Call `listener` with every event; listeners are called in the order of registration.

        It must not block; its exceptions are logged and do not affect other listeners.
        """
        self._listeners.append(listener)

    def publish(self, event: ModelEvent) -> None:
        """Pass an event to all listeners and subscribers."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("a listener failed on %r", event)
        for subscription in self._subscriptions:
            subscription.offer(event)

    @contextmanager
    def subscribe(self, model: str | None = None) -> Iterator[Subscription]:
        """Receive events from now on: all, or those of one model."""
        subscription = Subscription(model)
        if self._closed:
            subscription.end()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every subscription, so that event streams end when the server shuts down."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.end()
