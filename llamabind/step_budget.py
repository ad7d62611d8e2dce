"""How many prompt tokens a step may compute while others wait for their next token."""

from __future__ import annotations

_WEIGHT = 0.3
"""Of the newest measurement in the moving averages: follows a busy neighbour within some steps."""

_CLOCK_RESOLUTION = 1e-6


class StepBudget:
    """Keeps the gap between two tokens of a running stream near `target_seconds` while prompts are
    computed.

    It learns from measured steps what a step costs without prompt tokens and what each of them
    adds. Without a running stream nobody waits, and a step is as large as the batch.
    """

    def __init__(self, n_batch: int, target_seconds: float = 0.25, n_min: int = 16) -> None:
        self._n_batch = n_batch
        self._target_seconds = target_seconds
        self._n_min = n_min
        self._decode_seconds: float | None = None
        self._seconds_per_prompt_token: float | None = None

    def n_prompt_tokens(self, n_decoding: int) -> int:
        """Return how many prompt tokens fit beside `n_decoding` sequences' next tokens."""
        room = self._n_batch - n_decoding
        if n_decoding == 0:
            return room
        if self._seconds_per_prompt_token is None:
            # Nothing measured: one careful step tells.
            return min(room, 4 * self._n_min)
        spare = self._target_seconds - (self._decode_seconds or 0.0)
        n = int(spare / self._seconds_per_prompt_token)
        return min(room, max(n, self._n_min))

    def observe(self, n_decoding: int, n_prompt: int, seconds: float) -> None:
        """Learn from one step."""
        if n_prompt == 0:
            self._decode_seconds = _blend(self._decode_seconds, seconds)
            return
        decode_seconds = (self._decode_seconds or 0.0) if n_decoding else 0.0
        # Never below a tenth of the plain share: a noisy decode average must not make prompts look
        # free.
        cost = max(seconds - decode_seconds, 0.1 * seconds, _CLOCK_RESOLUTION) / n_prompt
        self._seconds_per_prompt_token = _blend(self._seconds_per_prompt_token, cost)


def _blend(average: float | None, value: float) -> float:
    return value if average is None else (1 - _WEIGHT) * average + _WEIGHT * value
