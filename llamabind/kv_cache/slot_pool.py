"""SlotPool: the slots (sequence ids) of a context and the KV cells that they hold."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from llamabind.kv_cache.cells import KvCells
from llamabind.kv_cache.operations import CopyPrefix, RestoreState, SaveState, Truncate
from llamabind.kv_cache.prefix import common_prefix
from llamabind.kv_cache.slot import Prefix, Slot
from llamabind.media.positions import count_positions, last_border

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from llamabind.kv_cache.host_cache import HostCache, StoredState
    from llamabind.kv_cache.operations import MemoryOp
    from llamabind.kv_cache.slot import Adapters
    from llamabind.kv_cache.window import CacheWindow

MIN_SAVED = 32
"""Minimum tokens of a saved state: recomputing fewer takes about as long as saving and restoring.

For the same reason a saved state must be this many tokens longer than the best prefix in the KV
cache to be restored.
"""


class SlotPool:
    """All slots of one context and the cells that they share. Used only on the engine thread.

    Evicted slots are saved to the host cache. Every change to llama.cpp's memory is recorded in
    `operations`, which the runner carries out in order before the next decode. If `is_cuttable` is
    False, a slot can be reused only as a whole or up to a checkpoint; see CheckpointPool.
    """

    is_cuttable = True

    def __init__(self, n_slots: int, n_cells: int, host: HostCache) -> None:
        self.slots = [Slot(seq_id) for seq_id in range(n_slots)]
        self.cells = KvCells(n_cells)
        self.host = host
        self.operations: list[MemoryOp] = []
        self._clock = 0
        self._window: CacheWindow | None = None

    def set_window(self, window: CacheWindow) -> None:
        """Reuse a prefix only if it has all cells of its window."""
        self._window = window

    def __iter__(self) -> Iterator[Slot]:
        return iter(self.slots)

    @property
    def has_retained(self) -> bool:
        """True if any slot could be evicted."""
        return any(slot.is_retained for slot in self.slots)

    @property
    def n_running_cells(self) -> int:
        """The number of cells of slots in which sequences run; shared cells may count for each."""
        held = sum(len(slot.cells) for slot in self.slots if slot.owner is not None)
        return min(held, self.cells.n_cells - self.cells.n_free)

    def longest_prefix(
        self, tokens: array[int], adapters: Adapters = (), *, restores: bool = True
    ) -> Prefix:
        """Return the longest prefix of `tokens` that is in a slot or a saved state.

        It was computed with the same `adapters`, and never has the last token, whose logits must be
        computed. With `restores` False only slots are searched.
        """
        limit = len(tokens) - 1
        best = self._longest_in_slots(tokens, limit, adapters)
        if not restores:
            return best
        for state, common in self.host.matches(tokens, adapters):
            n = last_border(tokens, min(common, limit))
            is_cut = n < len(state.tokens)
            if is_cut and self._window and self._window.n_tokens < len(state.tokens):
                continue
            if n >= best.n + (MIN_SAVED if best.full is None else 1):
                best = Prefix(n, full=state)
        return best

    def longest_common(self, tokens: array[int], adapters: Adapters = ()) -> int:
        """Return the longest prefix that any slot or saved state shares with `tokens`, usable or
        not.
        """
        in_slots = (common_prefix(slot.tokens, tokens) for slot in self._with(adapters))
        stored = (n for _, n in self.host.matches(tokens, adapters))
        return max(max(in_slots, default=0), max(stored, default=0))

    def fits(self, prefix: Prefix, n_more: int) -> bool:
        """True if `prefix` and `n_more` tokens fit after evicting all other retained slots."""
        held = [slot.cells for slot in self.slots if slot.owner is not None]
        if prefix.slot is not None:
            held.append(prefix.slot.cells[: prefix.n])
        n_free = self.cells.n_cells - self.cells.count_distinct(held)
        if prefix.full is not None:
            # The whole state is restored before it is cut.
            return n_free >= max(len(prefix.full.tokens), prefix.n + n_more)
        return n_free >= n_more

    def open(
        self,
        owner: object,
        prefix: Prefix,
        id_slot: int | None = None,
        adapters: Adapters = (),
    ) -> Slot | None:
        """Return a slot for `owner` that holds `prefix`, or None if there is none in this step.

        The slot `id_slot` is used if no sequence runs in it. Otherwise the slot of the prefix is
        reused without a copy if it is retained and has no further tokens, or if no other slot is
        left.
        """
        if prefix.full is not None and not self._can_exchange:
            return None
        slot = self._requested_slot(id_slot, prefix) or self._slot_for(prefix)
        if slot is None:
            return None
        if prefix.full is not None:
            if not self.evict_until(len(prefix.full.tokens)):
                return None
            self._restore(slot, prefix.full)
        elif prefix.slot is not None and prefix.slot is not slot:
            self._copy(prefix.slot, slot, prefix.n)
        if prefix.partial is not None:
            self.host.touch(prefix.partial)
            self.operations.append(RestoreState(slot.seq_id, prefix.partial.state_id))
        self._truncate(slot, prefix.n)
        slot.owner = owner
        slot.adapters = adapters
        slot.is_private = False
        self._touch(slot)
        return slot

    def reserve(self, slot: Slot, n: int) -> bool:
        """Take `n` more cells for `slot`, evicting retained slots if needed; False if too few are
        free.
        """
        if not self.evict_until(n):
            return False
        slot.cells.extend(self.cells.take(n))
        return True

    def take_one(self, slot: Slot) -> None:
        """Take one more cell for `slot`; at least one must be free."""
        slot.cells.append(self.cells.take_one())

    def commit(self, slot: Slot, tokens: array[int]) -> None:
        """Note that the reserved cells of `slot` now hold `tokens`.

        Reserved cells beyond them hold rejected draft tokens and are cut off.
        """
        slot.tokens.extend(tokens)
        n = len(slot.tokens)
        assert n <= len(slot.cells), "a step computed more tokens than were planned"
        if n < len(slot.cells):
            self.unreserve(slot)
            self.operations.append(Truncate(slot.seq_id, count_positions(slot.tokens, n)))

    def unreserve(self, slot: Slot) -> None:
        """Free the cells of `slot` that were reserved but not computed."""
        n = len(slot.tokens)
        self.cells.drop(slot.cells[n:])
        del slot.cells[n:]

    def release(self, slot: Slot) -> None:
        """End the owner's use of `slot`; its tokens stay as a retained prefix."""
        self.unreserve(slot)
        slot.owner = None
        self._touch(slot)

    def evict(self, slot: Slot) -> None:
        """Empty `slot`; its state is saved to the host cache."""
        self._save(slot)
        slot.owner = None
        self._truncate(slot, 0)

    def discard(self, slot: Slot) -> None:
        """Empty `slot` without saving it, in llama.cpp's memory too, even of tokens that were never
        committed.
        """
        self._truncate(slot, 0)
        self.operations.append(Truncate(slot.seq_id, 0))

    def evict_until(self, n_free: int) -> bool:
        """Evict retained slots, least recently used first, until `n_free` cells are free."""
        while self.cells.n_free < n_free:
            slot = self._oldest_retained()
            if slot is None:
                return False
            self.evict(slot)
        return True

    def adopt(self, slot: Slot, tokens: array[int], adapters: Adapters = ()) -> bool:
        """Evict `slot` and make it hold `tokens`, whose state the caller then loads into it.

        False if too few cells are free. No sequence may be running in the slot.
        """
        self.evict(slot)
        if not self.evict_until(len(tokens)):
            return False
        slot.cells = array("i", self.cells.take(len(tokens)))
        slot.tokens = tokens[:]
        slot.adapters = adapters
        slot.is_private = False
        self._touch(slot)
        return True

    def erase(self, slot: Slot) -> None:
        """Empty `slot` without saving it. No sequence may be running in it."""
        self._truncate(slot, 0)

    def shorten(self, slot: Slot, n: int) -> None:
        """Keep only the first `n` tokens of `slot`; none of them if the memory cannot be cut."""
        self.unreserve(slot)
        self._truncate(slot, last_border(slot.tokens, n) if self.is_cuttable else 0)

    def take_operations(self) -> list[MemoryOp]:
        """Return the memory operations since the last call."""
        operations, self.operations = self.operations, []
        return operations + self.host.take_drops()

    def check(self) -> None:
        """Assert that no cell is lost or miscounted (debug mode, tests)."""
        self.cells.check([slot.cells for slot in self.slots])
        for slot in self.slots:
            assert len(slot.tokens) == len(slot.cells), (
                "a slot's tokens and cells differ between steps"
            )
        saves = (operation for operation in self.operations if isinstance(operation, SaveState))
        self.host.check(planned={save.state_id for save in saves})

    @property
    def _can_exchange(self) -> bool:
        """True if states may be saved and restored in this step."""
        return True

    def _with(self, adapters: Adapters) -> Iterator[Slot]:
        """Yield the slots whose tokens were computed with these adapters."""
        return (slot for slot in self.slots if slot.adapters == adapters)

    def _longest_in_slots(self, tokens: array[int], limit: int, adapters: Adapters) -> Prefix:
        best = Prefix()
        for slot in self._with(adapters):
            # Of equally long prefixes prefer a retained slot, which needs no copy.
            n = last_border(tokens, min(common_prefix(slot.tokens, tokens), limit))
            if self._window and not self._has_window(self._window, slot, n):
                continue
            if n > best.n or (n == best.n > 0 and slot.is_retained):
                best = Prefix(n, slot)
        return best

    def _has_window(self, window: CacheWindow, slot: Slot, n: int) -> bool:
        return window.is_whole(slot.seq_id, count_positions(slot.tokens, n), self.operations)

    def _requested_slot(self, id_slot: int | None, prefix: Prefix) -> Slot | None:
        """Return the slot `id_slot`, emptied unless it holds `prefix`; None if it is not usable."""
        slot = None if id_slot is None else self.slots[id_slot % len(self.slots)]
        if slot is None or slot.owner is not None:
            return None
        if slot is prefix.slot and len(slot.tokens) == prefix.n:
            return slot
        if slot.cells and not self._can_exchange:
            return None
        if slot is prefix.slot:
            self._save(slot)
            return slot
        if prefix.slot is not None and prefix.partial is None and not self.is_cuttable:
            return None  # memory that cannot be cut is reused in its own slot, not copied
        if slot.cells:
            self.evict(slot)
        return slot

    def _slot_for(self, prefix: Prefix) -> Slot | None:
        source = prefix.slot
        if source is not None and source.is_retained and len(source.tokens) == prefix.n:
            return source
        empty = next((slot for slot in self.slots if slot.owner is None and not slot.cells), None)
        if empty is not None:
            return empty
        if not self._can_exchange:
            return None
        oldest = self._oldest_retained(keep=source)
        if oldest is not None:
            self.evict(oldest)
            return oldest
        if source is None or not source.is_retained:
            return None
        self._save(source)
        return source

    def _oldest_retained(self, keep: Slot | None = None) -> Slot | None:
        retained: Iterable[Slot] = (
            slot for slot in self.slots if slot.is_retained and slot is not keep
        )
        return min(retained, key=lambda slot: slot.last_used, default=None)

    def _copy(self, source: Slot, target: Slot, n: int) -> None:
        target.cells = source.cells[:n]
        self.cells.share(target.cells)
        target.tokens = source.tokens[:n]
        self._touch(source)
        n_positions = count_positions(source.tokens, n)
        self.operations.append(CopyPrefix(source.seq_id, target.seq_id, n_positions))

    def _restore(self, slot: Slot, state: StoredState) -> None:
        self.host.touch(state)
        slot.cells = array("i", self.cells.take(len(state.tokens)))
        slot.tokens = state.tokens[:]
        self.operations.append(RestoreState(slot.seq_id, state.state_id))

    def _save(self, slot: Slot) -> None:
        if len(slot.tokens) < MIN_SAVED or not self._can_exchange or self._is_held_elsewhere(slot):
            return
        state = self.host.save(slot.tokens, adapters=slot.adapters, is_private=slot.is_private)
        if state is not None:
            self.operations.append(SaveState(slot.seq_id, state.state_id))

    def _is_held_elsewhere(self, slot: Slot) -> bool:
        """True if another slot begins with all tokens of `slot`."""
        n = len(slot.tokens)
        return any(
            other is not slot and common_prefix(other.tokens, slot.tokens) == n
            for other in self._with(slot.adapters)
        )

    def _truncate(self, slot: Slot, n: int) -> None:
        if len(slot.cells) > n:
            self.cells.drop(slot.cells[n:])
            del slot.cells[n:]
            del slot.tokens[n:]
            self.operations.append(Truncate(slot.seq_id, count_positions(slot.tokens, n)))

    def _touch(self, slot: Slot) -> None:
        self._clock += 1
        slot.last_used = self._clock
