"""CheckpointPool: slots for memory that cannot be cut: recurrent states and sliding windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamabind.kv_cache.operations import SaveState
from llamabind.kv_cache.prefix import common_prefix
from llamabind.kv_cache.slot import Prefix, Slot
from llamabind.kv_cache.slot_pool import SlotPool
from llamabind.media.positions import last_border

if TYPE_CHECKING:
    from array import array

    from llamabind.kv_cache.host_cache import HostCache
    from llamabind.kv_cache.slot import Adapters


class CheckpointPool(SlotPool):
    """A SlotPool in which a prefix can only end where a slot ends or a state was saved.

    A recurrent state has only its newest position, a small sliding-window cache only the newest few
    (llama-memory-recurrent.h, llama-kv-cache-iswa.h). So a prompt's state is saved at useful
    positions while it is computed (CheckpointPlanner). With `is_partial` such a checkpoint holds
    only the part that cannot be cut, and the rest comes from a slot or a saved sequence that begins
    with the same tokens; otherwise it is a whole state.
    """

    is_cuttable = False

    def __init__(
        self, n_slots: int, n_cells: int, host: HostCache, *, is_partial: bool = False
    ) -> None:
        super().__init__(n_slots, n_cells, host)
        self._is_partial = is_partial

    def checkpoint(self, slot: Slot, tokens: array[int]) -> SaveState | None:
        """Return the operation that saves the state of `slot` once it holds exactly `tokens`.

        None if the state is saved already or is larger than the host cache.
        """
        state = self.host.save(
            tokens,
            is_partial=self._is_partial,
            adapters=slot.adapters,
            is_private=slot.is_private,
        )
        return None if state is None else SaveState(slot.seq_id, state.state_id, self._is_partial)

    def longest_prefix(
        self, tokens: array[int], adapters: Adapters = (), *, restores: bool = True
    ) -> Prefix:
        """As SlotPool.longest_prefix, but only at positions where a slot or a saved state ends."""
        limit = len(tokens) - 1
        best = self._longest_in_slots(tokens, limit, adapters)
        matches = list(self.host.matches(tokens, adapters))
        ends = [
            state
            for state, n in matches
            if len(state.tokens) == n <= limit and last_border(tokens, n) == n
        ]
        for state in sorted(ends, key=lambda state: len(state.tokens), reverse=True):
            n = len(state.tokens)
            if n <= best.n:
                break
            if not state.is_partial:
                if restores:
                    return Prefix(n, full=state)
                continue
            slot = self._holder(tokens, n, adapters)
            if slot is not None:
                return Prefix(n, slot, partial=state)
            stored = [full for full, common in matches if common >= n and not full.is_partial]
            if stored and restores:
                shortest = min(stored, key=lambda full: len(full.tokens))
                return Prefix(n, full=shortest, partial=state)
        return best

    def _longest_in_slots(self, tokens: array[int], limit: int, adapters: Adapters) -> Prefix:
        """Return the longest retained slot whose tokens all are a prefix: it is reused without a
        copy.
        """
        best = Prefix()
        for slot in self._with(adapters):
            n = common_prefix(slot.tokens, tokens)
            is_whole = n == len(slot.tokens) == last_border(tokens, n)
            if slot.is_retained and is_whole and best.n < n <= limit:
                best = Prefix(n, slot)
        return best

    def _holder(self, tokens: array[int], n: int, adapters: Adapters) -> Slot | None:
        """Return a slot that begins with the first `n` of `tokens`, preferably a retained one."""
        holders = [slot for slot in self._with(adapters) if common_prefix(slot.tokens, tokens) >= n]
        return max(holders, key=lambda slot: slot.is_retained, default=None)

    def _is_held_elsewhere(self, slot: Slot) -> bool:
        return any(
            other is not slot and other.tokens == slot.tokens for other in self._with(slot.adapters)
        )
