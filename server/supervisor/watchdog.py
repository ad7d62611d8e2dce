"""Watchdog: whether a worker still works, from what it sends and when. No timers."""

from collections.abc import Callable


class Watchdog:
    """When a worker last reported, and when its engine last made a step. Loop only."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._reported_at: float | None = None
        self._progressed_at = now()
        self._steps = 0

    def note_report(self, steps: int) -> None:
        """A report came, after so many steps of the engine."""
        self._reported_at = self._now()
        if steps != self._steps:
            self._steps = steps
            self._progressed_at = self._reported_at

    def note_progress(self) -> None:
        """The engine made a step, or has begun to have work."""
        self._progressed_at = self._now()

    def stalled_seconds(self, *, is_busy: bool) -> float:
        """How long a busy engine made no step, or a loaded worker, busy or not, said nothing."""
        now = self._now()
        silent = now - self._reported_at if self._reported_at is not None else 0.0
        return max(silent, now - self._progressed_at if is_busy else 0.0)
