"""How fast an engine computes: moving averages over its latest steps."""

from __future__ import annotations

import math

import msgspec

WINDOW_SECONDS = 10.0
"""Of computing: what was so long ago has a third of its weight left."""


class StepRates(msgspec.Struct, frozen=True):
    """Averages over the latest steps, all 0 before the first.

    Tokens per second are those of all requests together, while the engine computes: a pause changes
    nothing, so that a snapshot that nobody renews does not become wrong.
    """

    step_seconds: float = 0.0
    prompt_tokens_per_second: float = 0.0
    generated_tokens_per_second: float = 0.0


class StepMeter:
    """Counts steps, tokens and seconds, of which older ones fade."""

    def __init__(self, window: float = WINDOW_SECONDS) -> None:
        self._window = window
        self._seconds = self._steps = self._prompt = self._generated = 0.0
        self._rates = StepRates()

    def add(self, seconds: float, n_prompt: int, n_generated: int) -> StepRates:
        """Return the averages after one more step, which took `seconds`, computed so many prompt
        tokens and brought so many new ones; one that did neither does not count.
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
