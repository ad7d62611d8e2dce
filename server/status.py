"""ServerStatus: the server's version, start time, phase and latest failure."""

import time

from llamabind import __version__
from server.formats import iso_time, utc_now


class ServerStatus:
    """State of the whole server. Event loop only."""

    def __init__(self) -> None:
        self.version = __version__
        self.last_error: str | None = None
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

    def record_error(self, message: str) -> None:
        """Keep `message` as the latest failure, with the time. Not for errors of clients."""
        self.last_error = f"{iso_time(utc_now())} {message}"
