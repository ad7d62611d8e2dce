"""Spreads and ratios of repeated measurements."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Spread:
    """The median and the range of some measurements."""

    smallest: float
    median: float
    largest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self | None:
        """None for an empty list."""
        return cls(min(values), statistics.median(values), max(values)) if values else None

    def text(self, unit: str = "") -> str:
        """`median (smallest to largest)`."""
        unit = f" {unit}" if unit else ""
        return f"{_short(self.median)}{unit} ({_short(self.smallest)} to {_short(self.largest)})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours over theirs, round by round: runs next to each other met the same machine speed."""
    return [a / b for a, b in zip(ours, theirs, strict=False) if b > 0]


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
