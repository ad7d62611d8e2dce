"""Sizes, counts and times as people write them."""

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_COUNTS: Final = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))
_SPANS: Final = ((86_400 * 365, "year"), (86_400 * 30, "month"), (86_400 * 7, "week"),
                 (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))  # fmt: skip


def size(n_bytes: float | None) -> str:
    """Bytes such as 1.2 MB, 1024-based as in the API and on the web page; - for None."""
    if n_bytes is None:
        return "-"
    value = float(n_bytes)
    for unit in _UNITS:
        if value < 1023.5 or unit == _UNITS[-1]:
            is_whole = unit == "B" or value >= 99.95
            return f"{value:.0f} {unit}" if is_whole else f"{value:.3g} {unit}"
        value /= 1024
    raise AssertionError


def count(number: float | None) -> str:
    """A number such as 7.6B or 1.2M; - for None."""
    if number is None:
        return "-"
    for factor, letter in _COUNTS:
        if number >= factor:
            return f"{number / factor:.3g}{letter}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """A span such as 0.4 s, 42 s, 3 min 20 s or 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def ago(time: str | None, now: datetime | None = None) -> str:
    """How long ago an ISO time was, such as "3 days ago"; - for None."""
    if not time:
        return "-"
    seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(time)).total_seconds()
    for span, name in _SPANS:
        if (number := int(seconds // span)) >= 1:
            return f"{number} {name}{'' if number == 1 else 's'} ago"
    return "just now"
