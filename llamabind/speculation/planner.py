"""SpeculationPlanner: which decoding sequences get drafts, how long ones, and their statistics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from llamabind.speculation.draft_length import AcceptanceRate, DraftOffer, choose_lengths
from llamabind.speculation.step_cost import StepCost

if TYPE_CHECKING:
    from llamabind.scheduling.sequence import Sequence

MAX_ROWS = 64
"""Draft tokens per step: each needs a row of logits, 600 kB with a large vocabulary."""

_LARGEST_STEP = 128
"""Larger steps contain prompts; their times do not show the cost of one more token."""

_FIRST_PRIOR = 0.6
_PROBE_EVERY = 32
"""After this many steps without a draft, one is tried although it is not expected to pay.

Each try doubles the interval, up to _MAX_PROBE_INTERVAL.
"""

_MAX_PROBE_INTERVAL = 256
_PROBE_LENGTH = 2


class Drafter(Protocol):
    """Drafts tokens: from the text itself (n-grams), or with a small model."""

    is_free: bool
    """True if drafting takes next to no time, so that unused drafts cost nothing."""

    @property
    def seconds_per_token(self) -> float:
        """The average seconds for making one draft token."""

    def draft(self, wanted: list[tuple[Sequence, int]]) -> list[list[int]]:
        """Return a draft for each sequence in `wanted`, of at most the given number of tokens."""

    def forget(self, sequence: Sequence) -> None:
        """Free the data of a sequence that has ended."""

    def close(self) -> None:
        """Free everything."""


@dataclass(frozen=True, slots=True)
class SpeculationStats:
    """Counts over all drafts, named as in llama-server's spec_decode metrics.

    `accepted_per_position` counts for each position of a draft how often its token was accepted.
    """

    drafts: int = 0
    draft_tokens: int = 0
    accepted_tokens: int = 0
    accepted_per_position: tuple[int, ...] = ()


@dataclass(slots=True)
class _DraftProgress:
    """The acceptance rate of one sequence, and when to try a draft for it again.

    A `shadow` is a draft token, with its position, that is not computed but only compared with the
    token that comes: it shows at no cost whether drafts would be accepted again.
    """

    rate: AcceptanceRate = field(default_factory=AcceptanceRate)
    shadow: tuple[int, int] | None = None
    n_idle: int = 0
    probe_interval: int = _PROBE_EVERY


class SpeculationPlanner:
    """Requests drafts where they raise the tokens per second. Pure policy; engine thread only.

    Measured step times and each sequence's acceptance rate decide the lengths: long drafts for a
    single sequence that copies text; none if drafts are rejected, or if so many sequences share a
    step that arithmetic limits its speed.
    """

    def __init__(self, drafter: Drafter, *, n_max: int, n_min: int = 0) -> None:
        self.drafter = drafter
        self._n_max = n_max
        self._n_min = max(n_min, 1)
        self._cost = StepCost()
        self._rate = AcceptanceRate(decay=0.99, prior_weight=4.0)
        self._progress: dict[Sequence, _DraftProgress] = {}
        self._stats = SpeculationStats()

    @property
    def stats(self) -> SpeculationStats:
        """A snapshot of the counts since the load."""
        return self._stats

    def draft(
        self, sequences: list[Sequence], n_tokens: int, n_most: int
    ) -> dict[Sequence, tuple[int, ...]]:
        """Return drafts for those of the decoding sequences where they pay, `n_most` tokens in all.

        The step's batch has `n_tokens` without them.
        """
        for sequence in sequences:
            self._settle_shadow(sequence)
        lengths = self._choose(sequences, n_tokens, min(n_most, MAX_ROWS))
        wanted = [(sequence, n) for sequence, n in zip(sequences, lengths, strict=True) if n > 0]
        drafts = zip(wanted, self.drafter.draft(wanted), strict=True)
        if self.drafter.is_free:
            self._note_shadows([s for s, n in zip(sequences, lengths, strict=True) if n == 0])
        return {
            sequence: tuple(draft) for (sequence, _), draft in drafts if len(draft) >= self._n_min
        }

    def observe(self, sequence: Sequence, n_drafted: int, n_accepted: int) -> None:
        """Learn that the first `n_accepted` of `n_drafted` draft tokens were accepted."""
        self._learn(sequence, n_drafted, n_accepted)
        if n_accepted == n_drafted:
            # All accepted, even if it was only a try: try again in the next step.
            progress = self._progress_of(sequence)
            progress.n_idle = progress.probe_interval = _PROBE_EVERY
        old = self._stats
        per_position = list(old.accepted_per_position)
        per_position += [0] * (n_accepted - len(per_position))
        for position in range(n_accepted):
            per_position[position] += 1
        self._stats = SpeculationStats(
            drafts=old.drafts + 1,
            draft_tokens=old.draft_tokens + n_drafted,
            accepted_tokens=old.accepted_tokens + n_accepted,
            accepted_per_position=tuple(per_position),
        )

    def observe_step(self, n_tokens: int, seconds: float) -> None:
        """Learn that a step of `n_tokens` took `seconds`."""
        if n_tokens <= _LARGEST_STEP:
            self._cost.observe(n_tokens, seconds)

    def forget(self, sequence: Sequence) -> None:
        """Free the data of a sequence that has ended."""
        self._progress.pop(sequence, None)
        self.drafter.forget(sequence)

    def close(self) -> None:
        """Free the drafter."""
        self.drafter.close()

    def _choose(self, sequences: list[Sequence], n_tokens: int, n_most: int) -> list[int]:
        prior = self._rate.estimate(_FIRST_PRIOR)
        offers = [
            DraftOffer(
                self._progress_of(sequence).rate.estimate(prior),
                # The last token of an answer is never computed, so it cannot be a draft token.
                min(self._n_max, sequence.n_may_generate - 1),
            )
            for sequence in sequences
        ]
        seconds = self.drafter.seconds_per_token
        lengths = choose_lengths(offers, n_tokens, n_most, self._cost, seconds)
        spare = n_most - sum(lengths)
        for index, sequence in enumerate(sequences):
            if lengths[index] < self._n_min:
                spare += lengths[index]
                probe = min(self._probe(sequence), offers[index].limit, spare)
                lengths[index] = probe if probe >= self._n_min else 0
                spare -= lengths[index]
            else:
                progress = self._progress_of(sequence)
                progress.n_idle, progress.probe_interval = 0, _PROBE_EVERY
        return lengths

    def _probe(self, sequence: Sequence) -> int:
        """Return the length of a draft to try although it may not pay; 0 for none now."""
        progress = self._progress_of(sequence)
        progress.n_idle += 1
        if progress.n_idle < progress.probe_interval or self.drafter.is_free:
            return 0
        progress.n_idle = 0
        progress.probe_interval = min(2 * progress.probe_interval, _MAX_PROBE_INTERVAL)
        return max(_PROBE_LENGTH, self._n_min)

    def _note_shadows(self, sequences: list[Sequence]) -> None:
        drafts = self.drafter.draft([(sequence, 1) for sequence in sequences])
        for sequence, draft in zip(sequences, drafts, strict=True):
            if draft:
                self._progress_of(sequence).shadow = (len(sequence.tokens), draft[0])

    def _settle_shadow(self, sequence: Sequence) -> None:
        progress = self._progress_of(sequence)
        if progress.shadow is None:
            return
        position, token = progress.shadow
        if position < len(sequence.tokens):
            self._learn(sequence, 1, int(sequence.tokens[position] == token))
            progress.shadow = None

    def _learn(self, sequence: Sequence, n_drafted: int, n_accepted: int) -> None:
        self._progress_of(sequence).rate.observe(n_drafted, n_accepted)
        self._rate.observe(n_drafted, n_accepted)

    def _progress_of(self, sequence: Sequence) -> _DraftProgress:
        progress = self._progress.get(sequence)
        if progress is None:
            progress = self._progress[sequence] = _DraftProgress()
        return progress
