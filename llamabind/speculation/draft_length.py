"""The lengths of drafts: as many tokens for each sequence as raise the tokens per second."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llamabind.speculation.step_cost import StepCost

_HIGHEST_RATE = 0.98
"""Upper bound of an estimated rate: after any number of accepted tokens one may be rejected."""


class AcceptanceRate:
    """The probability that a draft token is accepted, estimated from the latest ones.

    `decay` is the weight of older results after each new one. The estimate starts at a `prior`,
    which counts as `prior_weight` results.
    """

    def __init__(self, decay: float = 0.9, prior_weight: float = 2.0) -> None:
        self._decay = decay
        self._prior_weight = prior_weight
        self._right = 0.0
        self._tried = 0.0

    def estimate(self, prior: float) -> float:
        """Return the probability; it is `prior` while nothing was observed."""
        right = self._right + self._prior_weight * prior
        return min(right / (self._tried + self._prior_weight), _HIGHEST_RATE)

    def observe(self, n_drafted: int, n_accepted: int) -> None:
        """Learn from a draft; tokens after the first rejected one were not tested."""
        for _ in range(n_accepted):
            self._add(1.0)
        if n_accepted < n_drafted:
            self._add(0.0)

    def _add(self, right: float) -> None:
        self._right = self._decay * self._right + right
        self._tried = self._decay * self._tried + 1.0


@dataclass(frozen=True, slots=True)
class DraftOffer:
    """A sequence that can get a draft: its acceptance rate, and the most tokens it can use."""

    rate: float
    limit: int


def choose_lengths(
    offers: list[DraftOffer], n_tokens: int, n_most: int, cost: StepCost, draft_seconds: float
) -> list[int]:
    """Return the number of draft tokens for each offer, at most `n_most` in all.

    The step computes `n_tokens` without drafts; each draft token adds `draft_seconds` for making it
    and the cost of computing a token. Draft token `i` of a sequence counts only if all before it
    are accepted, so it adds `rate**i` tokens on average. The tokens with the highest gain are taken
    first, until the next one would lower the tokens per second of the step.
    """
    lengths = [0] * len(offers)
    each = cost.per_token + draft_seconds
    seconds = cost.base + cost.per_token * n_tokens
    tokens = float(n_tokens)
    best = [(-offer.rate, index) for index, offer in enumerate(offers) if offer.limit > 0]
    heapq.heapify(best)
    while best and n_most > 0:
        gain, index = -best[0][0], best[0][1]
        if gain * seconds < tokens * each:
            break
        lengths[index] += 1
        tokens += gain
        seconds += each
        n_most -= 1
        if lengths[index] < offers[index].limit:
            heapq.heapreplace(best, (-gain * offers[index].rate, index))
        else:
            heapq.heappop(best)
    return lengths
