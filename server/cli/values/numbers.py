"""Parsers of flags that take a number."""

import math
from collections.abc import Callable

from llamabind.sampling.params import RANDOM_SEED


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
        if not low <= number <= high:
            raise ValueError(f"{number} is out of range, expected {low} to {high}")
        return number

    return parse


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    return value


def whole(text: str) -> int:
    """A whole number whose range LoadSettings checks."""
    return integer(-(1 << 31), 1 << 31)(text)


def whole_seed(text: str) -> int:
    """A seed: -1, or 32 bits."""
    return integer(-1, RANDOM_SEED)(text)


def temperature(text: str) -> float:
    """A temperature; below 0 it is 0, as in llama-server."""
    return max(0.0, number(text))


def seconds(text: str) -> float:
    """Seconds, above 0 and at most a day."""
    value = number(text)
    if not 0 < value <= 86_400:
        raise ValueError(f"{text} is out of range, expected above 0 and up to 86400 seconds")
    return value


def seconds_or_never(text: str) -> float:
    """Seconds; -1 is never, as infinity."""
    return math.inf if text.strip() == "-1" else seconds(text)


def inverse(text: str) -> float:
    """1 divided by a number."""
    value = number(text)
    if value == 0:
        raise ValueError("0 is out of range, expected above 0")
    return 1 / value


def embedding_norm(text: str) -> int:
    """llama-server's norm: -1 for none, 0 for the largest value, else the p of a p-norm."""
    return integer(-1, 1 << 15)(text)
