"""ProgressBar: one line on stderr that is drawn again, for people only."""

import os
import sys
import time
from types import TracebackType
from typing import Final, Self

from server.command.terminal.formats import duration, size
from server.command.terminal.screen import is_terminal, shortened, terminal_width, text_width

_REDRAW_SECONDS: Final = 0.1
_MAX_BAR: Final = 40
_MIN_BAR: Final = 8
_CLEAR: Final = "\r\x1b[K"


class ProgressBar:
    """Shows progress where stderr is a terminal, and nothing elsewhere.

    As a context manager: the line is removed at the end, so that what follows starts clean.
    """

    def __init__(self, label: str, delay_seconds: float = 0.0) -> None:
        """The bar appears after `delay_seconds`; shorter work shows none."""
        self._label = label
        # A dumb terminal, such as an editor's, cannot clear a line.
        self._is_shown = is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"
        self._begins = time.monotonic() + delay_seconds
        self._drawn = 0.0
        self._shown_fraction = -1.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._drawn:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()

    def show(self, fraction: float | None, note: str = "") -> None:
        """Draw the bar at `fraction` (0 to 1; None draws none) with `note` behind it."""
        if not self._is_shown:
            return
        now = time.monotonic()
        if now < self._begins:
            return
        is_new = fraction is not None and fraction >= 1 > self._shown_fraction
        if now - self._drawn < _REDRAW_SECONDS and not is_new:
            return
        self._drawn, self._shown_fraction = now, -1.0 if fraction is None else fraction
        width = (terminal_width(sys.stderr) or 80) - 1
        sys.stderr.write(f"{_CLEAR}{progress_line(self._label, fraction, note, width)}")
        sys.stderr.flush()


def progress_line(label: str, fraction: float | None, note: str, width: int) -> str:
    """The line in at most `width` columns; a narrow terminal gets a shorter bar, or none."""
    percent = "" if fraction is None else f" {min(max(fraction, 0), 1):4.0%}"
    tail = f"{percent}{'  ' if note and percent else ' ' if note else ''}{note}"
    room = width - text_width(label) - text_width(tail) - 3
    if fraction is None or room < _MIN_BAR:
        return shortened(f"{label}{tail}", width)
    n_columns = min(room, _MAX_BAR)
    n_full = int(min(max(fraction, 0), 1) * n_columns)
    return f"{label} [{'█' * n_full}{'░' * (n_columns - n_full)}]{tail}"


def transfer_note(
    n_done: int, n_total: int | None, bytes_per_second: float | None, eta_seconds: float | None
) -> str:
    """`1.2 GB of 4.6 GB, 34 MB/s, 1 min 40 s left`, without what is not known."""
    parts = [size(n_done) if not n_total else f"{size(n_done)} of {size(n_total)}"]
    if bytes_per_second:
        parts.append(f"{size(bytes_per_second)}/s")
    if eta_seconds is not None:
        parts.append(f"{duration(eta_seconds)} left")
    return ", ".join(parts)
