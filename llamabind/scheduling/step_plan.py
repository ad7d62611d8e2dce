"""One step of the engine: what is computed, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from llamabind.kv_cache.operations import MemoryOp, SaveState
    from llamabind.kv_cache.slot import Slot
    from llamabind.media.medium import Medium
    from llamabind.request import TokenLogprob
    from llamabind.scheduling.sampled import SampledRun
    from llamabind.scheduling.sequence import Sequence


class DraftPlanner(Protocol):
    """What the scheduler needs of speculative decoding; Speculation has it."""

    def draft(
        self, sequences: list[Sequence], n_tokens: int, room: int
    ) -> dict[Sequence, tuple[int, ...]]:
        """Return draft tokens for these decoding sequences, at most `room`.

        `n_tokens` are in the step's batch without them.
        """

    def observe(self, sequence: Sequence, n_drafted: int, n_accepted: int) -> None:
        """Note that the first `n_accepted` of a draft were right."""


class ScheduledChunk(msgspec.Struct, frozen=True, eq=False):
    """Tokens `start` to `end` of one sequence, computed in this step.

    `draft` are guesses of what follows the last token: they are computed behind it, so that those
    which prove right need no step of their own. Of a `medium` the vectors are computed.
    """

    sequence: Sequence
    slot: Slot
    start: int
    end: int
    draft: tuple[int, ...] = ()
    medium: Medium | None = None

    @property
    def is_last(self) -> bool:
        """True if the next token is sampled after this chunk."""
        return self.end == len(self.sequence.tokens)

    @property
    def n_prompt(self) -> int:
        """How many of its tokens are prompt."""
        return max(0, min(self.end, self.sequence.n_prompt) - self.start)

    @property
    def n_tokens(self) -> int:
        """How many tokens of the batch are its own."""
        return self.end - self.start + len(self.draft)


@dataclass(slots=True)
class StepPlan:
    """What the runner does in one step: the memory operations, one batch of all chunks, and then
    the checkpoints.
    """

    operations: list[MemoryOp] = field(default_factory=list)
    chunks: list[ScheduledChunk] = field(default_factory=list)
    checkpoints: list[SaveState] = field(default_factory=list)

    @property
    def n_decoding(self) -> int:
        """How many chunks are the next token of a running stream."""
        return sum(1 for chunk in self.chunks if chunk.sequence.is_decoding)

    @property
    def n_tokens(self) -> int:
        """The size of the batch."""
        return sum(chunk.n_tokens for chunk in self.chunks)

    @property
    def n_prompt(self) -> int:
        """How many tokens of the batch are prompts."""
        return sum(chunk.n_prompt for chunk in self.chunks)

    @property
    def n_drafted(self) -> int:
        """How many tokens of the batch are guesses."""
        return sum(len(chunk.draft) for chunk in self.chunks)


@dataclass(slots=True)
class StepResult:
    """What the runner brings back.

    `sampled` has one run for each chunk with `is_last`, in order. `prompt_logprobs` are of the
    tokens after those of a chunk, by request id. `saved` has the size in bytes of each state that
    was saved, by its id. `is_trial` says that its time is no measure: another number of threads was
    tried.
    """

    sampled: list[SampledRun] = field(default_factory=list)
    prompt_logprobs: dict[str, list[TokenLogprob]] = field(default_factory=dict)
    saved: dict[int, int] = field(default_factory=dict)
    is_trial: bool = False
