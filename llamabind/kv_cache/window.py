"""CacheWindow: which prefixes still have the cells of a model's sliding window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamabind.kv_cache.operations import CopyAll, CopyPrefix, RestoreState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llamabind.kv_cache.operations import MemoryOp


class CacheWindow:
    """The last `n_tokens` tokens, to which the next token attends, in a cache of full size.

    llama.cpp gives cells outside of the window of a sequence's end to other sequences
    (llama_kv_cache::find_slot), and does not save them (state_write).
    """

    def __init__(self, n_tokens: int, first_position: Callable[[int], int]) -> None:
        """`first_position` returns the first position that a sequence id still has."""
        self.n_tokens = n_tokens
        self._first_position = first_position

    def is_whole(self, seq_id: int, n_positions: int, operations: Sequence[MemoryOp]) -> bool:
        """Whether a sequence has the cells that the token after `n_positions` attends to.

        `operations` are not carried out yet.
        """
        for operation in reversed(operations):
            if isinstance(operation, CopyPrefix | CopyAll) and operation.target == seq_id:
                seq_id = operation.source
            elif isinstance(operation, RestoreState) and operation.seq_id == seq_id:
                return False
        first_needed = max(0, n_positions - self.n_tokens + 1)
        return self._first_position(seq_id) <= first_needed
