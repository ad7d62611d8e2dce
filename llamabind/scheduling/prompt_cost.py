"""PromptCost: the seconds of a prompt token, learned from measured steps."""

from __future__ import annotations

from dataclasses import dataclass

_WEIGHT = 0.3
"""Weight of the newest measurement in the moving averages: a changed speed shows in a few steps."""

_KEPT = 0.95
"""What a step keeps of the sums for the slope. It belongs to the model, so it is learned slowly."""

_LEAST_SPREAD = 128.0
"""Standard deviation of the contexts, in tokens, from which on they say how the cost grows."""

_FORGET_AFTER = 16
"""Steps after which the cost of a step size that was not used is forgotten: it may have been
measured while other programs used the CPU.
"""


@dataclass(slots=True)
class _Size:
    """Moving averages for the steps of one size; `seen` is the number of the latest one."""

    seconds: float
    context: float
    seen: int


class PromptCost:
    """The cost of a token depends on two things, which are learned from measured steps.

    They are the number of tokens in its step, for which each power of two has an average, and its
    context: the number of tokens before it, which attention reads. The cost grows linearly with the
    context, by the same slope in steps of all sizes (least squares within each size).
    """

    def __init__(self) -> None:
        self._sizes: dict[int, _Size] = {}
        self._n_observed = 0
        self._weight = self._products = self._squares = 0.0

    def __bool__(self) -> bool:
        """True once a step was measured."""
        return bool(self._sizes)

    @property
    def largest(self) -> int:
        """The bits of the largest size that is known; a step was measured."""
        return max(self._sizes)

    def observe(self, n: int, seconds: float, context: float = 0.0) -> None:
        """Learn from a step of `n` tokens whose prompt tokens had `context` tokens before them."""
        self._n_observed += 1
        size, cost = n.bit_length(), seconds / n
        known = self._sizes.get(size)
        if known is None:
            self._sizes[size] = _Size(cost, context, self._n_observed)
        else:
            self._learn_slope(cost - known.seconds, context - known.context)
            known.seconds += _WEIGHT * (cost - known.seconds)
            known.context += _WEIGHT * (context - known.context)
            known.seen = self._n_observed
        oldest = self._n_observed - _FORGET_AFTER
        self._sizes = {bits: one for bits, one in self._sizes.items() if one.seen >= oldest}

    def per_token(self, size: int, context: float = 0.0) -> float:
        """Return the seconds per token of steps whose token count has `size` bits.

        If none was measured, the nearest measured size counts; of two equally near, the larger.
        """
        nearest = min(self._sizes, key=lambda other: (abs(other - size), -other))
        known = self._sizes[nearest]
        # No part of the cost is negative: without any context it is at least the part that the
        # slope does not explain.
        slope = min(self._slope, known.seconds / max(known.context, 1.0))
        return max(known.seconds + slope * (context - known.context), known.seconds / 16)

    @property
    def _slope(self) -> float:
        """Seconds that one more token of context adds to the cost of a token."""
        if self._squares <= self._weight * _LEAST_SPREAD**2:
            return 0.0
        return max(0.0, self._products / self._squares)

    def _learn_slope(self, cost: float, context: float) -> None:
        """Add a step's distance from the averages of its size."""
        weight = 1 - _WEIGHT
        self._weight = _KEPT * self._weight + weight
        self._products = _KEPT * self._products + weight * cost * context
        self._squares = _KEPT * self._squares + weight * context * context
