"""SplitSlotPool: slots for a split KV cache, in which each sequence id has cells of its own."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from llamabind.kv_cache.operations import CopyAll, Truncate
from llamabind.kv_cache.slot import Prefix, Slot
from llamabind.kv_cache.slot_pool import SlotPool
from llamabind.media.positions import count_positions

if TYPE_CHECKING:
    from llamabind.kv_cache.host_cache import HostCache
    from llamabind.kv_cache.slot import Adapters

MIN_COPIED_PREFIX = 32
"""Minimum tokens of a copied prefix: a copy includes all cells of a sequence, used or not."""


class SplitSlotPool(SlotPool):
    """A SlotPool whose slots have `n_ctx_seq` cells each and share none.

    Attention reads only a sequence's own cells. But a retained prefix occupies a whole part of the
    cache, and reusing it in another slot copies that part (llama_kv_cache::seq_cp copies whole
    parts only, which llama.cpp calls streams).
    """

    def __init__(self, n_slots: int, n_ctx_seq: int, host: HostCache) -> None:
        super().__init__(n_slots, n_slots * n_ctx_seq, host)

    def fits(self, prefix: Prefix, n_more: int) -> bool:  # noqa: ARG002 - SlotPool's
        """True: a request that fits one slot's part of the cache fits any empty slot."""
        return True

    @property
    def _can_exchange(self) -> bool:
        # The next decode carries out a copy: until then its two slots must not change otherwise,
        # and the target's state does not exist yet.
        return not any(isinstance(operation, CopyAll) for operation in self.operations)

    def _longest_in_slots(self, tokens: array[int], limit: int, adapters: Adapters) -> Prefix:
        """As SlotPool's, without prefixes whose copy would cost more than it saves."""
        best = super()._longest_in_slots(tokens, limit, adapters)
        slot = best.slot
        if slot is None or (slot.is_retained and len(slot.tokens) == best.n):
            return best
        return best if best.n >= MIN_COPIED_PREFIX else Prefix()

    def _copy(self, source: Slot, target: Slot, n: int) -> None:
        target.cells = array("i", self.cells.take(n))
        target.tokens = source.tokens[:n]
        self._touch(source)
        self.operations.append(CopyAll(source.seq_id, target.seq_id))
        self.operations.append(Truncate(target.seq_id, count_positions(target.tokens, n)))
