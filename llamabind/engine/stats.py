"""StepMeter: moving averages of an engine's speed over its latest steps."""

from __future__ import annotations

import math

import msgspec

WINDOW_SECONDS = 10.0
"""Seconds of computing after which a step's weight in the averages has fallen to a third (1/e)."""


class StepRates(msgspec.Struct, frozen=True):
    """Averages over the latest steps; all 0 before the first.

    Tokens per second are the sum over all requests, counted only while the engine computes: an idle
    time does not change them, so a snapshot stays right while the engine is idle.
    """

    step_seconds: float = 0.0
    prompt_tokens_per_second: float = 0.0
    generated_tokens_per_second: float = 0.0


class StepMeter:
    """Counts steps, tokens and seconds with exponentially decaying weights."""

    def __init__(self, window: float = WINDOW_SECONDS) -> None:
        self._window = window
        self._seconds = self._steps = self._prompt = self._generated = 0.0
        self._rates = StepRates()

    def add(self, seconds: float, n_prompt: int, n_generated: int) -> StepRates:
        """Add a step and return the new averages; a step without any tokens is not counted.

        `n_prompt` prompt tokens were computed and `n_generated` tokens sampled in `seconds`.
        """
        if n_prompt == n_generated == 0:
            return self._rates
        kept = math.exp(-seconds / self._window)
        self._seconds = self._seconds * kept + seconds
        self._steps = self._steps * kept + 1
        self._prompt = self._prompt * kept + n_prompt
        self._generated = self._generated * kept + n_generated
        if self._seconds > 0:
            self._rates = StepRates(
                self._seconds / self._steps,
                self._prompt / self._seconds,
                self._generated / self._seconds,
            )
        return self._rates
