"""Checks of single parameter values; each raises InvalidParameterError.

The messages are worded as llama-server's, so that clients which match them keep working.
"""

import math
from collections.abc import Collection
from typing import Final

from llamabind.errors import InvalidParameterError

INT32_MAX: Final = 2**31 - 1
UINT32_MAX: Final = 2**32 - 1
FLOAT32_MAX: Final = 3.4028234663852886e38


def check_int(name: str, value: object, low: int, high: int) -> None:
    """Accept an int from `low` to `high`, both included; a bool is not an int here."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidParameterError(name, f"expected an integer, but got {value!r}")
    if not low <= value <= high:
        raise InvalidParameterError(name, out_of_range(low, high, value))


def check_float(
    name: str, value: object, low: float = -FLOAT32_MAX, high: float = FLOAT32_MAX
) -> None:
    """Accept a finite number from `low` to `high`, both included; a bool is not a number here."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise InvalidParameterError(name, f"expected a number, but got {value!r}")
    # NaN compares false with everything, and infinity is above every upper bound.
    if not low <= value <= high:
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidParameterError(name, f"Value must be finite, but got {value}")
        raise InvalidParameterError(name, out_of_range(low, high, value))


def check_bool(name: str, value: object) -> None:
    """Accept True or False only."""
    if not isinstance(value, bool):
        raise InvalidParameterError(name, f"expected true or false, but got {value!r}")


def check_text(name: str, value: object) -> None:
    """Accept a string without NUL and lone surrogates, which no UTF-8 C string can hold."""
    if not isinstance(value, str):
        raise InvalidParameterError(name, f"expected a string, but got {value!r}")
    if "\0" in value:
        raise InvalidParameterError(name, "a NUL character is not allowed")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidParameterError(
            name, f"not valid Unicode: lone surrogate at position {error.start}"
        ) from None


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Accept one of the strings in `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise InvalidParameterError(
            name, f"Value must be one of {', '.join(choices)}, but got {value!r}"
        )


def out_of_range(low: float, high: float, value: float) -> str:
    """Return llama-server's error sentence for a number outside its limits."""
    return f"Value must be between {low} <= value <= {high}, but got {value}"
