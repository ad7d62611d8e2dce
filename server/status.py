"""ServerStatus: the server's version, start time, phase and latest failure."""

import time
from collections import deque

from llamabind import __version__
from server.formats import iso_time, utc_now

_MAX_ERRORS = 20


class ServerStatus:
    """State of the whole server. Event loop only."""

    def __init__(self) -> None:
        self.version = __version__
        self._errors: deque[str] = deque(maxlen=_MAX_ERRORS)
        # Set once, when a signal stops the server: it then accepts no new work.
        self.is_shutting_down = False
        # True with --model until the first attempt to load that model has ended.
        self.is_starting = False
        self.started_at = int(time.time())
        self._started = time.monotonic()

    @property
    def uptime_seconds(self) -> float:
        """Seconds since the server started."""
        return time.monotonic() - self._started

    @property
    def last_error(self) -> str | None:
        """The latest failure, with its time in front; None without one."""
        return self._errors[-1] if self._errors else None

    @property
    def recent_errors(self) -> tuple[str, ...]:
        """The latest failures, at most 20, the newest last, each in the form of `last_error`."""
        return tuple(self._errors)

    def record_error(self, message: str) -> None:
        """Keep `message` as the latest failure, with the time. Not for errors of clients."""
        self._errors.append(f"{iso_time(utc_now())} {message}")
