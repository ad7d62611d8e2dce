"""keep_seconds: reads the durations of keep_alive."""

import math
import re
from typing import Final

from llamabind.errors import InvalidParameterError

KeepAlive = int | float | str

_SECONDS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_UNIT: Final = "|".join(_SECONDS)
_FOR_EVER: Final = 1e12
_NUMBER: Final = r"(?:[0-9]{1,12}(?:\.[0-9]*)?|\.[0-9]{1,12})"
_DURATION: Final = re.compile(rf"[+-]?(?:{_NUMBER}|(?:{_NUMBER}(?:{_UNIT}))+)")
_PART: Final = re.compile(rf"({_NUMBER})({_UNIT})?")


def keep_seconds(value: KeepAlive) -> float:
    """The seconds of a number, or of a duration such as "5m" or "1h30m"; below 0 is infinity.

    Raises InvalidParameterError.
    """
    if not isinstance(value, str):
        # float() fails for integers of several hundred digits; such a time counts as infinity.
        return float(value) if 0 <= value < _FOR_EVER else math.inf
    if _DURATION.fullmatch(value) is None:
        raise InvalidParameterError(
            "keep_alive",
            f'{value!r} is not a duration: give a number of seconds, or a duration such as "5m"',
        )
    if value.startswith("-"):
        return math.inf
    return sum(float(number) * _SECONDS[unit or "s"] for number, unit in _PART.findall(value))
