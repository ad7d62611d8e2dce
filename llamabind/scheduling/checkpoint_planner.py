"""CheckpointPlanner: the positions of a prompt at which its state is saved.

Only for models whose memory cannot be cut (CheckpointPool).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamabind.kv_cache.prefix import common_prefix
from llamabind.media.positions import last_border

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llamabind.scheduling.sequence import Sequence

SPACING = 512
"""Tokens between checkpoints of a long prompt: the default n_ubatch, so that no graph is split."""

MIN_SPACING = 32
"""Minimum tokens between two checkpoints: recomputing fewer is as fast as restoring a state."""

TAIL = 4
"""Tokens between the last checkpoint and the end of the prompt, as in llama-server.

If the same prompt comes again, its last token must be computed for its logits; and in the next turn
of a conversation the template may write the start of the answer differently.
"""


@dataclass(slots=True)
class _Progress:
    """The position of a sequence's last checkpoint, and where earlier prompts branch off."""

    last: int
    branch: int


class CheckpointPlanner:
    """Chooses where other prompts branch off, near the prompt's end, and every 512 tokens.

    The end of a shared system prompt is found as the position where two prompts begin to differ, so
    no client has to give its length.
    """

    def __init__(self) -> None:
        self._progress: dict[Sequence, _Progress] = {}

    def start(self, sequence: Sequence, n_common: int) -> None:
        """Start planning; `n_common` is the sequence's longest common prefix with other prompts."""
        self._progress[sequence] = _Progress(sequence.n_computed, n_common)

    def forget(self, sequence: Sequence) -> None:
        """Stop planning a sequence that has lost its slot."""
        self._progress.pop(sequence, None)

    def next_position(self, sequence: Sequence, waiting: Iterable[Sequence]) -> int | None:
        """Return the position of the next checkpoint, where a chunk must end; None if there is
        none.
        """
        progress = self._progress[sequence]
        n_tokens, n_computed = len(sequence.tokens), sequence.n_computed
        branches = [
            min(common_prefix(other.tokens, sequence.tokens), len(other.tokens) - 1)
            for other in waiting
        ]
        branches.append(progress.branch)
        step = (n_computed // SPACING + 1) * SPACING
        # A regular checkpoint shortly before a branch would forbid the one at the branch, which is
        # known to be useful.
        regular = [
            position
            for position in (n_tokens - TAIL, step)
            if not any(position < branch < position + MIN_SPACING for branch in branches)
        ]
        first = max(n_computed + 1, progress.last + MIN_SPACING)
        positions = (n for n in (*regular, *branches) if first <= n < n_tokens)
        borders = (n for n in positions if last_border(sequence.tokens, n) == n)
        return min(borders, default=None)

    def reached(self, sequence: Sequence, position: int) -> None:
        """Note that the state at `position` is saved in the step being planned."""
        self._progress[sequence].last = position
