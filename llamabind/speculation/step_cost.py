"""StepCost: the seconds of a step as a function of its tokens, learned from measured steps."""

from __future__ import annotations

_WEIGHT = 0.05
"""Weight of the newest step in the averages, which forget older ones within some tens of steps."""

_MIN_SPREAD = 0.25
"""Least variance of the step sizes from which the cost of one more token can be derived."""

_FIRST_SLOPE = 0.1
"""Assumed cost of one more token, as a share of a step's time, before it can be derived."""

_OUTLIER = 3.0
"""A step's time counts at most this many times the expected one: other programs slowed it down."""


class StepCost:
    """A line fitted to the latest steps: `base` seconds plus `per_token` seconds for each token.

    The base is mostly reading the weights, the rest arithmetic: on a CPU the second token of a
    large model is nearly free, the twentieth is not.
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
        """Learn that a step of `n_tokens` took `seconds`."""
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
            # Noise could make a token cost less than nothing or more than a whole step.
            highest = self._mean_seconds / self._mean_n
            self._slope = min(max(self._covariance / self._variance, 0.0), highest)
