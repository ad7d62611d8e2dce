"""Slots for a KV cache in streams: each sequence id has cells of its own."""

from __future__ import annotations

from array import array

from llamabind.slots import CopyAll, Slot, SlotPool, Truncate

MIN_COPIED_PREFIX = 32
"""Copying costs a whole stream, used or not: a shorter prefix is computed again."""


class StreamSlotPool(SlotPool):
    """A SlotPool whose slots have `n_ctx_seq` cells each and share none.

    Attention walks a sequence's own cells only, but a retained prefix occupies a stream, and a copy
    between streams is a real one (llama_kv_cache::seq_cp copies whole streams only).
    """

    def __init__(self, n_slots: int, n_ctx_seq: int, *, shares_prefixes: bool = True) -> None:
        super().__init__(n_slots, n_slots * n_ctx_seq, shares_prefixes=shares_prefixes)

    def n_available(self, source: Slot | None, n: int) -> int:  # noqa: ARG002 - SlotPool's
        """Any request that fits a stream fits an unused one."""
        return self.cells.n_cells

    def longest_prefix(self, tokens: array[int]) -> tuple[Slot | None, int]:
        """As SlotPool.longest_prefix; none where a copy would cost more than it saves."""
        source, n = super().longest_prefix(tokens)
        if source is None or (source.is_retained and len(source.tokens) == n):
            return source, n
        return (source, n) if n >= MIN_COPIED_PREFIX else (None, 0)

    def _copy(self, source: Slot, target: Slot, n: int) -> None:
        target.cells = array("i", self.cells.take(n))
        target.tokens = source.tokens[:n]
        self._touch(source)
        self.operations.append(CopyAll(source.seq_id, target.seq_id))
        self.operations.append(Truncate(target.seq_id, n))
