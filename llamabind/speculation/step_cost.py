"""What a step costs by the number of its tokens, learned from the steps' own times."""

from __future__ import annotations

_WEIGHT = 0.05
"""Of the newest step: what was learned is forgotten within some tens of steps."""

_MIN_SPREAD = 0.25
"""Variance of the step sizes below which they say nothing about the price of one more token."""

_FIRST_SLOPE = 0.1
"""Share of a step that one more token is taken to cost until the first steps have told."""

_OUTLIER = 3.0
"""A step this many times as long as expected says that somebody else wanted the machine."""


class StepCost:
    """A straight line through the latest steps: `base` seconds and `per_token` for each token.

    Reading the weights is the base, arithmetic the rest: on a CPU a second token is nearly free for
    a large model, the twentieth is not.
    """

    def __init__(self) -> None:
        self._mean_n = 0.0
        self._mean_seconds = 0.0
        self._variance = 0.0
        self._covariance = 0.0
        self._slope: float | None = None

    @property
    def base(self) -> float:
        """Seconds of a step without tokens."""
        return max(0.0, self._mean_seconds - self.per_token * self._mean_n)

    @property
    def per_token(self) -> float:
        """Seconds that each token adds."""
        if self._slope is not None:
            return self._slope
        return _FIRST_SLOPE * self._mean_seconds / max(self._mean_n, 1.0)

    def observe(self, n_tokens: int, seconds: float) -> None:
        """Learn from a step of `n_tokens`."""
        if self._mean_n == 0.0:
            self._mean_n, self._mean_seconds = float(n_tokens), seconds
            return
        expected = self.base + self.per_token * n_tokens
        seconds = min(seconds, _OUTLIER * max(expected, self._mean_seconds))
        away, later = n_tokens - self._mean_n, seconds - self._mean_seconds
        self._mean_n += _WEIGHT * away
        self._mean_seconds += _WEIGHT * later
        self._variance = (1 - _WEIGHT) * (self._variance + _WEIGHT * away * away)
        self._covariance = (1 - _WEIGHT) * (self._covariance + _WEIGHT * away * later)
        if self._variance >= _MIN_SPREAD:
            # Neither free nor dearer than the whole: noise can suggest both.
            dearest = self._mean_seconds / self._mean_n
            self._slope = min(max(self._covariance / self._variance, 0.0), dearest)
