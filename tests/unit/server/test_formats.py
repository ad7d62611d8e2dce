"""Times, sizes and durations as /api/v2 writes them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from server.formats import byte_size, iso_time, uptime


def test_times_are_utc_with_a_z() -> None:
    moment = datetime(2024, 1, 15, 13, 30, tzinfo=timezone(timedelta(hours=1)))
    assert iso_time(moment) == "2024-01-15T12:30:00Z"
    assert iso_time(datetime(2024, 1, 15, 12, 0, 0, 999_999, UTC)) == "2024-01-15T12:00:00Z"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0.0MB"), (13_002_342, "12.4MB"), (2**30, "1.0GB"), (4_831_838_208, "4.5GB")],
)
def test_sizes_have_one_decimal_and_base_1024(count: int, text: str) -> None:
    assert byte_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0d 0h 0m"), (59.9, "0d 0h 0m"), (3_660, "0d 1h 1m"), (186_300, "2d 3h 45m")],
)
def test_uptime_has_days_hours_and_minutes(seconds: float, text: str) -> None:
    assert uptime(seconds) == text
