"""Bell: tells one reader that there is something to read."""

import asyncio

_LONGEST_TIMER = 60.0
"""Seconds after which a timer looks whether anybody waits still: the bell of an answer that is over
is not to be kept for as long as its reader would have waited.
"""


class Wakeup:
    """Rings are remembered until the reader waits; any number of them is one. Loop only.

    A reader waits once per token, so a wait makes no timer of its own: one timer is set for the
    first wait that could end, and when it goes off it is set anew for the wait of that moment.
    """

    def __init__(self, other: "Wakeup | None" = None) -> None:
        """`other` rings whenever this one does: its reader waits for several."""
        self._other = other
        self._has_rung = False
        self._waiter: asyncio.Future[None] | None = None
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def ring(self) -> None:
        """There is something to read."""
        self._has_rung = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._other is not None:
            self._other.ring()

    async def wait(self, patience: float | None = None) -> bool:
        """Until it rings, or has rung since the last wait; False after `patience` seconds."""
        if not self._has_rung:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            self._expect(loop, patience)
            try:
                await self._waiter
            finally:
                self._waiter = None
        has_rung, self._has_rung = self._has_rung, False
        return has_rung

    def _expect(self, loop: asyncio.AbstractEventLoop, patience: float | None) -> None:
        if patience is None:
            self._due = None
            return
        self._due = loop.time() + patience
        if self._timer is not None:
            if self._timer.when() <= self._due:
                return
            self._timer.cancel()
        self._set_timer(loop, self._due)

    def _set_timer(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        when = min(due, loop.time() + _LONGEST_TIMER)
        self._timer = loop.call_at(when, self._go_off, loop)

    def _go_off(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done() or self._due is None:
            return
        if loop.time() < self._due:
            self._set_timer(loop, self._due)
        else:
            self._waiter.set_result(None)
