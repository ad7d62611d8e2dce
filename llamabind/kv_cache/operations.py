"""What a step does to llama.cpp's memory before or after it computes: orders for the runner.

Lengths are positions, not cells (`positions`): llama.cpp cuts and copies by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class CopyPrefix:
    """`seq_cp` the first `n` positions from one sequence id to another."""

    source: int
    target: int
    n: int


@dataclass(frozen=True, slots=True)
class CopyAll:
    """Copy all of one stream over another, which is empty; carried out by the next decode."""

    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Truncate:
    """`seq_rm` everything from position `n` on."""

    seq_id: int
    n: int


@dataclass(frozen=True, slots=True)
class SaveState:
    """Copy a sequence's state into host memory under a number of its own.

    With `is_partial` only what cannot be cut: the sliding window or the recurrent state.
    """

    seq_id: int
    state_id: int
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class RestoreState:
    """Replace what a sequence holds, or the part that was saved, by a saved state."""

    seq_id: int
    state_id: int


@dataclass(frozen=True, slots=True)
class DropState:
    """Free a saved state; one that could not be saved is ignored."""

    state_id: int


MemoryOp: TypeAlias = CopyPrefix | CopyAll | Truncate | SaveState | RestoreState | DropState
