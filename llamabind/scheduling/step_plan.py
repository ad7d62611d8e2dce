"""StepPlan and StepResult: what a step computes, and its results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from llamabind.kv_cache.operations import MemoryOp, SaveState
    from llamabind.kv_cache.slot import Adapters, Slot
    from llamabind.media.medium import Medium
    from llamabind.request import TokenLogprob
    from llamabind.scheduling.sampled import SampledRun
    from llamabind.scheduling.sequence import Sequence


class DraftPlanner(Protocol):
    """The functions of SpeculationPlanner that the scheduler needs."""

    def draft(
        self, sequences: list[Sequence], n_tokens: int, n_most: int
    ) -> dict[Sequence, tuple[int, ...]]:
        """Return draft tokens for these decoding sequences, at most `n_most` in all.

        The step's batch has `n_tokens` without them.
        """

    def observe(self, sequence: Sequence, n_drafted: int, n_accepted: int) -> None:
        """Note that the first `n_accepted` of `n_drafted` draft tokens were accepted."""


class ScheduledChunk(msgspec.Struct, frozen=True, eq=False):
    """The tokens [start, end) of one sequence, computed in this step.

    `draft` are draft tokens after the last one, computed in the same batch. If `medium` is set, its
    vectors are computed in place of the tokens.
    """

    sequence: Sequence
    slot: Slot
    start: int
    end: int
    draft: tuple[int, ...] = ()
    medium: Medium | None = None

    @property
    def is_last(self) -> bool:
        """True if the chunk has the sequence's last token: the next one is sampled after it."""
        return self.end == len(self.sequence.tokens)

    @property
    def n_prompt(self) -> int:
        """The number of prompt tokens in the chunk."""
        n_prompt = self.sequence.n_prompt
        if self.start >= n_prompt:
            return 0
        return min(self.end, n_prompt) - self.start

    @property
    def n_tokens(self) -> int:
        """The number of batch tokens of the chunk, its draft included."""
        return self.end - self.start + len(self.draft)


@dataclass(slots=True)
class StepPlan:
    """One step: memory operations, then one batch of all chunks, then checkpoints.

    `adapters` are the LoRA scales of all its sequences.
    """

    adapters: Adapters = ()
    operations: list[MemoryOp] = field(default_factory=list)
    chunks: list[ScheduledChunk] = field(default_factory=list)
    checkpoints: list[SaveState] = field(default_factory=list)

    def add(self, sequence: Sequence, n: int, medium: Medium | None = None) -> None:
        """Add the next `n` tokens of a sequence, if it has a slot.

        `medium` is computed in their place once the sequence has reached its start.
        """
        if sequence.slot is None:
            return
        start = sequence.n_computed
        if medium is not None and start < medium.start:
            medium = None
        self.chunks.append(ScheduledChunk(sequence, sequence.slot, start, start + n, medium=medium))

    @property
    def n_decoding(self) -> int:
        """The number of chunks of decoding sequences."""
        return sum([chunk.sequence.is_decoding for chunk in self.chunks])

    @property
    def n_tokens(self) -> int:
        """The number of tokens in the batch."""
        return sum([chunk.end - chunk.start for chunk in self.chunks]) + self.n_drafted

    @property
    def n_prompt(self) -> int:
        """The number of prompt tokens in the batch."""
        return sum([chunk.n_prompt for chunk in self.chunks])

    @property
    def prompt_context(self) -> float:
        """The number of tokens before a prompt token of the batch, on average; 0 without any."""
        parts = [(one.n_prompt, (one.start + one.end) / 2) for one in self.chunks if one.n_prompt]
        n = sum([n for n, _ in parts])
        return sum([n * middle for n, middle in parts]) / n if n else 0.0

    @property
    def n_drafted(self) -> int:
        """The number of draft tokens in the batch."""
        return sum([len(chunk.draft) for chunk in self.chunks if chunk.draft])


@dataclass(slots=True)
class StepResult:
    """The results of a step.

    `sampled` has a run for each chunk with `is_last`, in order. `prompt_logprobs` has, by request
    id, the log-probabilities of the prompt tokens that follow the tokens of a chunk. `saved` has
    the size in bytes of each saved state, by state id. With `is_trial` another number of threads
    was tried out, so the step's time must not be used to predict others.
    """

    sampled: list[SampledRun] = field(default_factory=list)
    prompt_logprobs: dict[str, list[TokenLogprob]] = field(default_factory=dict)
    saved: dict[int, int] = field(default_factory=dict)
    is_trial: bool = False
