"""Speculative decoding: which streams get guesses of their next tokens, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from llamabind.speculation.draft_length import AcceptanceRate, DraftOffer, choose_lengths
from llamabind.speculation.step_cost import StepCost

if TYPE_CHECKING:
    from llamabind.scheduling.sequence import Sequence

MAX_ROWS = 64
"""Guesses per step: each needs a row of logits, 600 kB of a large vocabulary."""

_LARGEST_STEP = 128
"""Larger steps are prompts: their price says nothing about a few tokens more."""

_FIRST_PRIOR = 0.6
_PROBE_EVERY = 32
"""Steps without a draft after which one is tried all the same; doubled each time that fails."""

_MAX_PATIENCE = 256
_PROBE_LENGTH = 2


class Drafter(Protocol):
    """Guesses tokens: from the text itself, or with a small model."""

    is_free: bool
    """True if guessing takes next to no time, whether the guesses are used or not."""

    @property
    def seconds_per_token(self) -> float:
        """What making one guess costs."""

    def draft(self, wishes: list[tuple[Sequence, int]]) -> list[list[int]]:
        """Guess what follows each sequence's tokens, at most as many as wished."""

    def forget(self, sequence: Sequence) -> None:
        """Free what is kept of a sequence that has ended."""

    def close(self) -> None:
        """Free everything."""


@dataclass(frozen=True, slots=True)
class SpeculationStats:
    """What became of all drafts so far, in the words of llama-server's spec_decode metrics.

    `accepted_per_position` counts for each position of a draft how often it was right.
    """

    drafts: int = 0
    draft_tokens: int = 0
    accepted_tokens: int = 0
    accepted_per_position: tuple[int, ...] = ()


@dataclass(slots=True)
class _DraftProgress:
    """What is known of one sequence's drafts.

    A `shadow` is a guess that was only noted, with the position it is for: it costs nothing and
    tells whether guesses would be right again.
    """

    rate: AcceptanceRate = field(default_factory=AcceptanceRate)
    shadow: tuple[int, int] | None = None
    n_idle: int = 0
    patience: int = _PROBE_EVERY


class SpeculationPlanner:
    """Asks a drafter for what pays. Pure policy, used only on the engine thread.

    Measured step times and each stream's rate of right guesses decide the lengths: long drafts for
    one stream that copies, none where the guesses are wrong or so many streams share a step that
    its arithmetic is the limit.
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
        """A snapshot."""
        return self._stats

    def draft(
        self, sequences: list[Sequence], n_tokens: int, room: int
    ) -> dict[Sequence, tuple[int, ...]]:
        """Return the guesses that pay for these decoding sequences, `room` tokens at most.

        `n_tokens` are in the step's batch anyway.
        """
        for sequence in sequences:
            self._settle_shadow(sequence)
        lengths = self._choose(sequences, n_tokens, min(room, MAX_ROWS))
        wishes = [(sequence, n) for sequence, n in zip(sequences, lengths, strict=True) if n > 0]
        drafts = zip(wishes, self.drafter.draft(wishes), strict=True)
        if self.drafter.is_free:
            self._note_shadows([s for s, n in zip(sequences, lengths, strict=True) if n == 0])
        return {
            sequence: tuple(draft) for (sequence, _), draft in drafts if len(draft) >= self._n_min
        }

    def observe(self, sequence: Sequence, n_drafted: int, n_accepted: int) -> None:
        """Learn that the first `n_accepted` of a draft were right."""
        self._learn(sequence, n_drafted, n_accepted)
        if n_accepted == n_drafted:
            # Even if it was a probe that did not seem to pay: look again in the next step.
            progress = self._progress_of(sequence)
            progress.n_idle = progress.patience = _PROBE_EVERY
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
        """Learn what a step of `n_tokens` took."""
        if n_tokens <= _LARGEST_STEP:
            self._cost.observe(n_tokens, seconds)

    def forget(self, sequence: Sequence) -> None:
        """A sequence has ended."""
        self._progress.pop(sequence, None)
        self.drafter.forget(sequence)

    def close(self) -> None:
        """Free the drafter."""
        self.drafter.close()

    def _choose(self, sequences: list[Sequence], n_tokens: int, room: int) -> list[int]:
        prior = self._rate.estimate(_FIRST_PRIOR)
        offers = [
            DraftOffer(
                self._progress_of(sequence).rate.estimate(prior),
                # The last token of an answer needs no computing, so no guess stands in its place.
                min(self._n_max, sequence.n_may_generate - 1),
            )
            for sequence in sequences
        ]
        seconds = self.drafter.seconds_per_token
        lengths = choose_lengths(offers, n_tokens, room, self._cost, seconds)
        spare = room - sum(lengths)
        for index, sequence in enumerate(sequences):
            if lengths[index] < self._n_min:
                spare += lengths[index]
                probe = min(self._probe(sequence), offers[index].limit, spare)
                lengths[index] = probe if probe >= self._n_min else 0
                spare -= lengths[index]
            else:
                progress = self._progress_of(sequence)
                progress.n_idle, progress.patience = 0, _PROBE_EVERY
        return lengths

    def _probe(self, sequence: Sequence) -> int:
        """Return the length of a draft that does not seem to pay, to find out whether it does."""
        progress = self._progress_of(sequence)
        progress.n_idle += 1
        if progress.n_idle < progress.patience or self.drafter.is_free:
            return 0
        progress.n_idle = 0
        progress.patience = min(2 * progress.patience, _MAX_PATIENCE)
        return max(_PROBE_LENGTH, self._n_min)

    def _note_shadows(self, sequences: list[Sequence]) -> None:
        guesses = self.drafter.draft([(sequence, 1) for sequence in sequences])
        for sequence, guess in zip(sequences, guesses, strict=True):
            if guess:
                self._progress_of(sequence).shadow = (len(sequence.tokens), guess[0])

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
