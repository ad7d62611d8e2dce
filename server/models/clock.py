"""Clock: the time that decisions are made by, so that tests can turn it by hand."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """Something that was scheduled."""

    def cancel(self) -> None:
        """Do not do it after all; harmless when it is done."""


class Clock(Protocol):
    """Seconds that only go forward, from an arbitrary start."""

    def now(self) -> float:
        """Seconds."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Have `callback` called on the loop."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class LoopClock:
    """The real time of the running event loop."""

    def now(self) -> float:
        """Seconds."""
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Have `callback` called on the loop."""
        return asyncio.get_running_loop().call_later(seconds, callback)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
