"""Text forms of times, sizes and durations in the API."""

from datetime import UTC, datetime

_MB = 1 << 20
_GB = 1 << 30


def utc_now() -> datetime:
    """The current time in UTC, timezone-aware."""
    return datetime.now(UTC)


def iso_time(moment: datetime) -> str:
    """`2024-01-15T12:00:00Z`: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def byte_size(count: int) -> str:
    """`4.5GB`, or `12.4MB` below one GB; 1024-based, one decimal."""
    return f"{count / _GB:.1f}GB" if count >= _GB else f"{count / _MB:.1f}MB"


def uptime(seconds: float) -> str:
    """`2d 3h 45m`, always with all three units."""
    minutes = int(seconds) // 60
    return f"{minutes // 1440}d {minutes // 60 % 24}h {minutes % 60}m"
