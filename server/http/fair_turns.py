"""FairTurns: lets a few waiting requests continue at a time, each caller's in turn."""

import asyncio
from collections import deque


class FairTurns:
    """Grants `at_once` turns, then pauses; a pause of 0 s lasts until the loop's next iteration.

    So the work of many requests is done in small parts, between which the event loop runs others'.
    While requests wait, callers get their turns one after the other, whatever number of requests
    each of them has. Event loop only.
    """

    def __init__(self, at_once: int, pause_seconds: float = 0.0) -> None:
        self._at_once = at_once
        self._pause_seconds = pause_seconds
        self._granted = 0
        self._timer: asyncio.Handle | None = None
        # The caller that is next is the first one.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def n_waiting(self) -> int:
        """Requests that wait for a turn."""
        return sum(map(len, self._waiting.values()))

    async def wait(self, caller: str) -> None:
        """Return at the caller's turn; at once if there is a free one. May be cancelled."""
        if self._granted < self._at_once and not self._waiting:
            self._count()
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(future)
        await future

    def _count(self) -> None:
        self._granted += 1
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = (
                loop.call_later(self._pause_seconds, self._grant)
                if self._pause_seconds
                else loop.call_soon(self._grant)
            )

    def _grant(self) -> None:
        self._timer = None
        self._granted = 0
        while self._granted < self._at_once and self._waiting:
            caller, futures = next(iter(self._waiting.items()))
            # To the end of the order, unless it has no more.
            del self._waiting[caller]
            while futures:
                future = futures.popleft()
                if not future.done():  # else cancelled: the client has disconnected
                    future.set_result(None)
                    self._count()
                    break
            if futures:
                self._waiting[caller] = futures
