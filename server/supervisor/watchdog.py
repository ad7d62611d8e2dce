"""Watchdog: detects stalled workers from the times of their messages. No timers."""

from collections.abc import Callable


class Watchdog:
    """Keeps the time of a worker's last report and its engine's last step. Event loop only."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._reported_at: float | None = None
        self._progressed_at = now()
        self._steps = 0
        self._watched_silence = 0.0
        self._intake_seconds = 0.0

    def note_report(self, steps: int, intake_seconds: float = 0.0) -> None:
        """Record a report; `steps` is the engine's total number of steps, `intake_seconds` the time
        in which no request was prepared (rendered, tokenised) although some wait for it.
        """
        self._reported_at = self._now()
        self._intake_seconds = intake_seconds
        self._watched_silence = 0.0
        if steps != self._steps:
            self._steps = steps
            self._progressed_at = self._reported_at

    def note_progress(self) -> None:
        """Record a step of the engine, or that it got its first request."""
        self._progressed_at = self._now()

    def stalled_seconds(self, *, is_busy: bool) -> float:
        """The longest of three: seconds without a step of a busy engine; without a prepared request
        while some wait for it; without a report of a loaded worker.
        """
        now = self._now()
        silent = now - self._reported_at if self._reported_at is not None else 0.0
        stuck = self.intake_seconds if is_busy else 0.0
        return max(silent, stuck, now - self._progressed_at if is_busy else 0.0)

    @property
    def intake_seconds(self) -> float:
        """Seconds in which no request was prepared although some wait for it."""
        if not self._intake_seconds or self._reported_at is None:
            return 0.0
        return self._intake_seconds + self._now() - self._reported_at

    def watch(self, seconds: float, *, is_busy: bool) -> float:
        """Add `seconds` of watching; returns the seconds that a busy worker was watched without a
        report; 0.0 before its first one.

        Unlike a difference of times it leaves out the time in which this process was itself
        stopped, and its workers with it, as by Ctrl-Z.
        """
        if self._reported_at is None or not is_busy:
            self._watched_silence = 0.0
        else:
            self._watched_silence += seconds
        return self._watched_silence
