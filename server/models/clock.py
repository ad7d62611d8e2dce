"""Clock: the time source for timers and delays of models, which tests replace by a manual one."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A scheduled callback."""

    def cancel(self) -> None:
        """Prevent the call; no effect once it was made."""


class Clock(Protocol):
    """Monotonic time in seconds, from an arbitrary start."""

    def now(self) -> float:
        """The current time in seconds."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the event loop after `seconds`."""

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""


class LoopClock:
    """Real time; timers run on the running event loop."""

    def now(self) -> float:
        """The current time in seconds."""
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the event loop after `seconds`."""
        return asyncio.get_running_loop().call_later(seconds, callback)

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        await asyncio.sleep(seconds)
