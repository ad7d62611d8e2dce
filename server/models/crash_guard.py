"""CrashGuard: how soon a model that crashed may be started again, and when to stop trying."""

from server.models.clock import Clock

# Crashes that lie further apart than this have nothing to do with each other.
_WINDOW_SECONDS = 300.0
_MAX_CRASHES = 5
_FIRST_DELAY_SECONDS = 1.0
_MAX_DELAY_SECONDS = 60.0


class CrashGuard:
    """Counts one model's crashes since its last complete answer. Pure.

    The first crash costs no delay: most have a single request as their cause. From the second on
    the delay doubles, and after five of them it is a loop that only `reset` ends.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._crashes = 0
        self._first_crash = 0.0
        self._last_crash = 0.0

    @property
    def crashes(self) -> int:
        """How many there were in a row."""
        return self._crashes

    @property
    def is_looping(self) -> bool:
        """Whether starting it again has proved to be of no use."""
        return self._crashes >= _MAX_CRASHES

    @property
    def span_seconds(self) -> float:
        """The time from the first crash of the row to the last."""
        return self._last_crash - self._first_crash

    @property
    def wait_seconds(self) -> float:
        """How long to wait from now on before the next start."""
        if self._crashes < 2:
            return 0.0
        delay: float = min(_FIRST_DELAY_SECONDS * 2.0 ** (self._crashes - 2), _MAX_DELAY_SECONDS)
        return max(0.0, self._last_crash + delay - self._clock.now())

    def record_crash(self) -> None:
        """The process died, loading or serving."""
        now = self._clock.now()
        if self._crashes and now - self._last_crash > _WINDOW_SECONDS and not self.is_looping:
            self._crashes = 0
        if not self._crashes:
            self._first_crash = now
        self._last_crash = now
        self._crashes += 1

    def record_answer(self) -> None:
        """It has answered a request to the end: whatever crashed it, it is usable."""
        self._crashes = 0

    def reset(self) -> None:
        """Somebody asked for it explicitly: begin anew."""
        self._crashes = 0
