"""A clock that a test advances."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(eq=False)
class _HandTimer:
    due: float
    callback: Callable[[], None]
    timers: list["_HandTimer"]

    def cancel(self) -> None:
        if self in self.timers:
            self.timers.remove(self)


@dataclass
class ManualClock:
    """A Clock for tests: `advance` runs the calls that are due; sleeps are recorded only."""

    seconds: float = 1000.0
    slept: list[float] = field(default_factory=list)
    timers: list[_HandTimer] = field(default_factory=list)

    def now(self) -> float:
        return self.seconds

    def call_later(self, seconds: float, callback: Callable[[], None]) -> _HandTimer:
        timer = _HandTimer(self.seconds + seconds, callback, self.timers)
        self.timers.append(timer)
        return timer

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        for timer in [timer for timer in self.timers if timer.due <= self.seconds]:
            timer.cancel()
            timer.callback()
