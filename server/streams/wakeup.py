"""Wakeup: notifies one reader that there is something to read."""

import asyncio

_LONGEST_TIMER = 60.0
"""The longest delay of a timer in seconds. A timer holds a reference to its Wakeup, so this bounds
how long one is kept after its reader has stopped waiting.
"""


class Wakeup:
    """Wakes one reader. Notifications before a wait are remembered as one. Event loop only.

    The reader waits once per token, so waits share one timer: it is set for the earliest time at
    which a wait may end, and when it fires, it is set again for the current wait.
    """

    def __init__(self, other: "Wakeup | None" = None) -> None:
        """`other` is notified whenever this one is, so that its reader can wait for several."""
        self._other = other
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def notify(self) -> None:
        """Wake the reader, now or at its next wait."""
        self._is_set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._other is not None:
            self._other.notify()

    async def wait(self, timeout_seconds: float | None = None) -> bool:
        """True once notified, also before this call; False after `timeout_seconds`."""
        if not self._is_set:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            self._arm_timer(loop, timeout_seconds)
            try:
                await self._waiter
            finally:
                self._waiter = None
        was_set, self._is_set = self._is_set, False
        return was_set

    def _arm_timer(self, loop: asyncio.AbstractEventLoop, timeout_seconds: float | None) -> None:
        if timeout_seconds is None:
            self._due = None
            return
        self._due = loop.time() + timeout_seconds
        if self._timer is not None:
            if self._timer.when() <= self._due:
                return
            self._timer.cancel()
        self._set_timer(loop, self._due)

    def _set_timer(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        when = min(due, loop.time() + _LONGEST_TIMER)
        self._timer = loop.call_at(when, self._on_timer, loop)

    def _on_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done() or self._due is None:
            return
        if loop.time() < self._due:
            self._set_timer(loop, self._due)
        else:
            self._waiter.set_result(None)
