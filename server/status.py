"""ServerStatus: since when this server runs, its version, and its latest real failure."""

import time

from llamabind import __version__
from server.formats import iso_time, utc_now


class ServerStatus:
    """Facts about the whole server. Loop only."""

    def __init__(self) -> None:
        self.version = __version__
        self.last_error: str | None = None
        # Set once, when the server has been told to leave: not ready for new work any more.
        self.is_leaving = False
        # As long as the only model of a server of one file has not been tried for the first time.
        self.is_starting = False
        self.started_at = int(time.time())
        self._started = time.monotonic()

    @property
    def uptime_seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def record_error(self, message: str) -> None:
        """Keep the latest failure of a model or of our own code (not a client's mistake)."""
        self.last_error = f"{iso_time(utc_now())} {message}"
