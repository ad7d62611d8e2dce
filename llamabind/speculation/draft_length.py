"""How many tokens to guess for each stream: as many as make tokens come faster."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llamabind.speculation.step_cost import StepCost

_HIGHEST_RATE = 0.98
"""Nobody is always right: it bounds the drafts of a stream that has been so far."""


class AcceptanceRate:
    """How likely the next guess is right, from the latest ones; `prior` is what is thought of a
    stream that nothing is known of.
    """

    def __init__(self, decay: float = 0.9, prior_weight: float = 2.0) -> None:
        self._decay = decay
        self._prior_weight = prior_weight
        self._right = 0.0
        self._tried = 0.0

    def estimate(self, prior: float) -> float:
        """Return a probability."""
        right = self._right + self._prior_weight * prior
        return min(right / (self._tried + self._prior_weight), _HIGHEST_RATE)

    def observe(self, n_drafted: int, n_accepted: int) -> None:
        """Learn from a draft: behind the first wrong guess nothing was tried."""
        for _ in range(n_accepted):
            self._add(1.0)
        if n_accepted < n_drafted:
            self._add(0.0)

    def _add(self, right: float) -> None:
        self._right = self._decay * self._right + right
        self._tried = self._decay * self._tried + 1.0


@dataclass(frozen=True, slots=True)
class DraftOffer:
    """One stream that could be drafted for: how often guesses are right, and how many fit."""

    rate: float
    limit: int


def choose_lengths(
    offers: list[DraftOffer], n_tokens: int, room: int, cost: StepCost, draft_seconds: float
) -> list[int]:
    """Return how many tokens to guess for each offer, at most `room` together.

    The step computes `n_tokens` anyway; each guess adds `draft_seconds` for making it and the price
    of a token. Guess `i` of a stream counts only if all before it are right: its gain is `rate**i`
    tokens. The most promising guess comes first, and the last is the one that still brings more
    tokens per second than the step has without it.
    """
    lengths = [0] * len(offers)
    each = cost.per_token + draft_seconds
    seconds = cost.base + cost.per_token * n_tokens
    tokens = float(n_tokens)
    best = [(-offer.rate, index) for index, offer in enumerate(offers) if offer.limit > 0]
    heapq.heapify(best)
    while best and room > 0:
        gain, index = -best[0][0], best[0][1]
        if gain * seconds < tokens * each:
            break
        lengths[index] += 1
        tokens += gain
        seconds += each
        room -= 1
        if lengths[index] < offers[index].limit:
            heapq.heapreplace(best, (-gain * offers[index].rate, index))
        else:
            heapq.heappop(best)
    return lengths
