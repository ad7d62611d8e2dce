"""RenderLimit: how long the current thread may render and tokenise one request."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from llamabind.errors import RenderStoppedError
from llamabind.system.stop_flag import StopFlag


class RenderLimit:
    """A deadline, and a flag that another thread may set to give the request up.

    The time begins with the first rendering or text, so encoding images does not count.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.stop = StopFlag()
        self._ends_at: float | None = None

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline, at least a millisecond."""
        return max(self._deadline - time.monotonic(), 1e-3)

    @property
    def _deadline(self) -> float:
        if self._ends_at is None:
            self._ends_at = time.monotonic() + self.seconds
        return self._ends_at

    def is_overdue(self, seconds: float) -> bool:
        """Whether the deadline passed over `seconds` ago, as when a native call does not return."""
        return self._ends_at is not None and time.monotonic() > self._ends_at + seconds

    def check(self) -> None:
        """Raise RenderStoppedError after the deadline, or once the flag is set."""
        if self.stop.is_set:
            raise RenderStoppedError("the request was cancelled before its prompt was complete")
        if time.monotonic() > self._deadline:
            raise self.error()

    def error(self) -> RenderStoppedError:
        """The error of a prompt that reached the deadline."""
        return RenderStoppedError(
            f"rendering and tokenising the prompt took longer than {self.seconds:g} s; "
            "shorten the prompt"
        )


_current: ContextVar[RenderLimit | None] = ContextVar("render_limit", default=None)


def current_limit() -> RenderLimit | None:
    """Return the limit of this thread's request; None is no limit."""
    return _current.get()


def check_limit() -> None:
    """Raise RenderStoppedError if this thread's request has reached its limit."""
    limit = _current.get()
    if limit is not None:
        limit.check()


@contextmanager
def limited(limit: RenderLimit) -> Iterator[None]:
    """Apply `limit` to all templates that this thread renders in the block."""
    token = _current.set(limit)
    try:
        yield
    finally:
        _current.reset(token)
