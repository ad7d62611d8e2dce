"""At which positions of a prompt its state is worth saving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamabind.kv_cache.prefix import common_prefix
from llamabind.media.positions import last_border

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llamabind.scheduling.sequence import Sequence

SPACING = 512
"""Tokens between the checkpoints of a long prompt: the default n_ubatch, so no graph is cut."""

MIN_SPACING = 32
"""Checkpoints are at least so far apart: fewer tokens are computed again as fast."""

TAIL = 4
"""The last checkpoint leaves out so many tokens of the prompt.

The same prompt needs its last token computed, and the next turn may begin its answer otherwise
(llama-server leaves out as many).
"""


@dataclass(slots=True)
class _Progress:
    """The last checkpoint of a sequence, and where an earlier prompt went another way."""

    last: int
    branch: int


class CheckpointPlanner:
    """Chooses the positions: where other requests branch off, the end of the prompt, and steps.

    A shared system prompt ends where two requests stop having the same tokens, so nobody needs to
    say how long it is.
    """

    def __init__(self) -> None:
        self._progress: dict[Sequence, _Progress] = {}

    def start(self, sequence: Sequence, n_common: int) -> None:
        """Begin at `sequence.n_computed`; others that were here share `n_common` tokens with it."""
        self._progress[sequence] = _Progress(sequence.n_computed, n_common)

    def forget(self, sequence: Sequence) -> None:
        """Stop: `sequence` lost its slot."""
        self._progress.pop(sequence, None)

    def next_position(self, sequence: Sequence, waiting: Iterable[Sequence]) -> int | None:
        """Return the next position at which a chunk of `sequence` should end to be saved."""
        progress = self._progress[sequence]
        n_tokens, n_computed = len(sequence.tokens), sequence.n_computed
        branches = [
            min(common_prefix(other.tokens, sequence.tokens), len(other.tokens) - 1)
            for other in waiting
        ]
        branches.append(progress.branch)
        step = (n_computed // SPACING + 1) * SPACING
        # One that nobody asks for must not take the place of one that somebody waits for.
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
        """Note that the state at `position` was saved."""
        self._progress[sequence].last = position
