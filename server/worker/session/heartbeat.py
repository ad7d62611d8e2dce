"""Heartbeat: sends the engine's figures to the server, so that readers there do not wait."""

import threading
from collections.abc import Callable

import psutil
from msgspec.structs import replace

from server.protocol.messages import Stats
from server.worker.session.sender import FrameSender

_PERIOD_SECONDS = 1.0


class Heartbeat:
    """Sends a Stats about once a second, on a separate thread that ends with the process."""

    def __init__(self, stats: Callable[[], Stats | None], sender: FrameSender) -> None:
        """`stats` returns None as long as there is nothing to report."""
        self._stats = stats
        self._sender = sender
        self._never = threading.Event()

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def _run(self) -> None:
        while True:
            if (stats := self._stats()) is not None:
                report = replace(stats, is_report=True, resident_bytes=_resident_bytes())
                self._sender.send(report)
            self._never.wait(_PERIOD_SECONDS)


def _resident_bytes() -> int:
    """The resident memory of this process; 0 if it cannot be read, as without /proc."""
    try:
        return psutil.Process().memory_info().rss
    except (psutil.Error, OSError):
        return 0
