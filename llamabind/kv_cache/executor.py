"""MemoryExecutor: carries out memory operations in a context and holds the saved states."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import psutil

from llamabind.errors import StateError
from llamabind.kv_cache.operations import (
    CopyAll,
    CopyPrefix,
    DropState,
    RestoreState,
    SaveState,
    Truncate,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llamabind.context.context import Context
    from llamabind.context.saved_state import SavedState
    from llamabind.kv_cache.operations import MemoryOp

logger = logging.getLogger(__name__)

MIN_FREE_FRACTION = 0.05
"""Fraction of the machine's memory that saving a state must leave free.

Without free memory a process is OOM-killed; a state that is not saved only costs recomputation.
"""


def has_free_memory(n_bytes: int) -> bool:
    """True if the machine has memory for a state of `n_bytes`, and some to spare."""
    memory = psutil.virtual_memory()
    return n_bytes <= memory.available - MIN_FREE_FRACTION * memory.total


class MemoryExecutor:
    """Carries out memory operations; holds the bytes of the host cache. Engine thread only."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._states: dict[int, SavedState] = {}

    def carry_out(self, operations: Iterable[MemoryOp]) -> dict[int, int]:
        """Carry out the operations in order; return the size in bytes of each saved state, by id.

        A state that cannot be saved is left out and logged as a warning.
        """
        saved: dict[int, int] = {}
        for operation in operations:
            match operation:
                case CopyPrefix(source, target, n):
                    self._context.memory_seq_cp(source, target, 0, n)
                case CopyAll(source, target):
                    self._context.memory_seq_cp(source, target)
                case Truncate(seq_id, n):
                    self._truncate(seq_id, n)
                case SaveState():
                    state = self._save(operation)
                    if state is not None:
                        saved[operation.state_id] = state.n_bytes
                case RestoreState(seq_id, state_id):
                    self._context.state_seq_load(seq_id, self._states[state_id])
                case DropState(state_id):
                    self._states.pop(state_id, None)
        return saved

    def adopt(self, state_id: int, state: SavedState) -> None:
        """Hold a state that was read from a file."""
        self._states[state_id] = state

    def state(self, state_id: int) -> SavedState:
        """Return a saved state, which nothing changes any more."""
        return self._states[state_id]

    def close(self) -> None:
        """Free all states."""
        self._states.clear()

    def _truncate(self, seq_id: int, n: int) -> None:
        if not self._context.memory_seq_rm(seq_id, n, -1):
            # EngineShape.is_cuttable was wrong for this model.
            raise AssertionError(f"sequence {seq_id} cannot be cut at {n}")

    def _save(self, operation: SaveState) -> SavedState | None:
        seq_id, partial_only = operation.seq_id, operation.is_partial
        n_bytes = self._context.state_seq_size(seq_id, partial_only=partial_only)
        if not has_free_memory(n_bytes):
            logger.warning("a KV state of %d bytes is not saved: too little free memory", n_bytes)
            return None
        try:
            state = self._context.state_seq_save(seq_id, partial_only=partial_only)
        except (StateError, MemoryError) as error:
            logger.warning("a KV state of %d bytes is not saved: %s", n_bytes, error)
            return None
        self._states[operation.state_id] = state
        return state
