"""Operations on llama.cpp's memory, which MemoryExecutor carries out before or after a decode.

Lengths are positions, not cells (llamabind.media.positions), since llama.cpp cuts and copies by
position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class CopyPrefix:
    """Copy the first `n` positions of one sequence id to another (llama_memory_seq_cp)."""

    source: int
    target: int
    n: int


@dataclass(frozen=True, slots=True)
class CopyAll:
    """Copy a whole sequence to an empty one of a split cache; the next decode carries it out."""

    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Truncate:
    """Remove all positions from `n` on (llama_memory_seq_rm)."""

    seq_id: int
    n: int


@dataclass(frozen=True, slots=True)
class SaveState:
    """Save a sequence's state in host memory under the id `state_id`.

    With `is_partial` only the part that cannot be cut: the sliding window or the recurrent state.
    """

    seq_id: int
    state_id: int
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class RestoreState:
    """Replace a sequence's memory by a saved state; a partial one replaces only its part."""

    seq_id: int
    state_id: int


@dataclass(frozen=True, slots=True)
class DropState:
    """Free a saved state; an id that could not be saved is ignored."""

    state_id: int


MemoryOp: TypeAlias = CopyPrefix | CopyAll | Truncate | SaveState | RestoreState | DropState
