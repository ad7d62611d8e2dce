"""CrashGuard: how long to wait before restarting a crashed model, and when to stop restarting."""

from server.models.clock import Clock

# A crash this long after the previous one starts a new count.
_WINDOW_SECONDS = 300.0
_MAX_CRASHES = 5
_FIRST_DELAY_SECONDS = 1.0
_MAX_DELAY_SECONDS = 60.0


class CrashGuard:
    """Counts one model's crashes since its last complete answer. Pure.

    The first crash adds no delay, since most crashes are caused by a single request. The next ones
    delay the restart by 1, 2 and 4 s; five crashes are a crash loop until `reset`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._crashes = 0
        self._first_crash = 0.0
        self._last_crash = 0.0

    @property
    def crashes(self) -> int:
        """Number of crashes since the last complete answer."""
        return self._crashes

    @property
    def is_looping(self) -> bool:
        """Whether the model is in a crash loop: only an explicit load starts it again."""
        return self._crashes >= _MAX_CRASHES

    @property
    def span_seconds(self) -> float:
        """Seconds from the first counted crash to the last."""
        return self._last_crash - self._first_crash

    @property
    def wait_seconds(self) -> float:
        """Seconds from now until the model may be started again."""
        if self._crashes < 2:
            return 0.0
        delay: float = min(_FIRST_DELAY_SECONDS * 2.0 ** (self._crashes - 2), _MAX_DELAY_SECONDS)
        return max(0.0, self._last_crash + delay - self._clock.now())

    def record_crash(self) -> None:
        """Count a crash of the worker process, during a load or while serving."""
        now = self._clock.now()
        if self._crashes and now - self._last_crash > _WINDOW_SECONDS and not self.is_looping:
            self._crashes = 0
        if not self._crashes:
            self._first_crash = now
        self._last_crash = now
        self._crashes += 1

    def record_answer(self) -> None:
        """Forget the crashes: the model completed an answer, so it is usable."""
        self._crashes = 0

    def reset(self) -> None:
        """Forget the crashes: a client explicitly requested a load."""
        self._crashes = 0
