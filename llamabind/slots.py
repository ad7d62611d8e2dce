"""The sequence ids of a context and the tokens whose KV each one holds."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llamabind.kv_cells import CellIds, KvCells

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from llamabind.sequence import Sequence


@dataclass(frozen=True, slots=True)
class CopyPrefix:
    """A memory operation for the runner: `seq_cp` the first `n` positions from one sequence id to
    another.
    """

    source: int
    target: int
    n: int


@dataclass(frozen=True, slots=True)
class Truncate:
    """A memory operation for the runner: `seq_rm` everything from position `n` on."""

    seq_id: int
    n: int


@dataclass(frozen=True, slots=True)
class CopyAll:
    """A memory operation for the runner: copy all of one stream over another, which is empty."""

    source: int
    target: int


MemoryOp = CopyPrefix | CopyAll | Truncate


class Slot:
    """One llama.cpp sequence id: the tokens its KV cells hold, and who uses it now.

    A slot without an owner but with tokens is *retained*: it waits to be somebody's prefix. While a
    step is under way `cells` is longer than `tokens`; `commit` closes the gap.
    """

    __slots__ = ("cells", "last_used", "owner", "seq_id", "tokens")

    def __init__(self, seq_id: int) -> None:
        self.seq_id = seq_id
        self.tokens: array[int] = array("i")
        self.cells: array[int] = array("i")
        self.owner: Sequence | None = None
        self.last_used = 0

    @property
    def cell_ids(self) -> CellIds:
        """The cells as a numpy array of its own (a view would forbid the array to grow)."""
        return np.array(self.cells, dtype=np.int32)

    @property
    def is_retained(self) -> bool:
        """True if only its prefix is of use."""
        return self.owner is None and len(self.cells) > 0


def common_prefix(a: array[int], b: array[int]) -> int:
    """Return how many tokens `a` and `b` begin with in common."""
    n = min(len(a), len(b))
    if n == 0:
        return 0
    different = np.frombuffer(a, dtype=np.int32, count=n) != np.frombuffer(
        b, dtype=np.int32, count=n
    )
    first = int(different.argmax())
    return first if different[first] else n


class SlotPool:
    """All slots of one context and the cells they share. Used only on the engine thread.

    Every change to llama.cpp's memory is noted in `operations`, which the runner carries out, in
    order, before the next decode.
    """

    def __init__(self, n_slots: int, n_cells: int, *, shares_prefixes: bool = True) -> None:
        self.shares_prefixes = shares_prefixes
        self.slots = [Slot(seq_id) for seq_id in range(n_slots)]
        self.cells = KvCells(n_cells)
        self.operations: list[MemoryOp] = []
        self._clock = 0

    def __iter__(self) -> Iterator[Slot]:
        return iter(self.slots)

    @property
    def has_retained(self) -> bool:
        """True if anything could be evicted."""
        return any(slot.is_retained for slot in self.slots)

    def longest_prefix(self, tokens: array[int]) -> tuple[Slot | None, int]:
        """Return the slot with the longest computed prefix of `tokens`, running or retained, and
        its length.
        """
        best: Slot | None = None
        best_length = 0
        for slot in self.slots if self.shares_prefixes else ():
            # A retained slot wins a tie: it can be taken over instead of copied.
            length = common_prefix(slot.tokens, tokens)
            if length > best_length or (length == best_length > 0 and slot.is_retained):
                best, best_length = slot, length
        return best, best_length

    def n_available(self, source: Slot | None, n: int) -> int:
        """Return the cells that are free or would be after evicting all retained but the first `n`
        of `source`.
        """
        held = [slot.cell_ids for slot in self.slots if slot.owner is not None]
        if source is not None:
            held.append(source.cell_ids[:n])
        return self.cells.n_cells - self.cells.count_distinct(held)

    def open(self, owner: Sequence, source: Slot | None, n: int) -> Slot | None:
        """Give `owner` a slot that holds the first `n` tokens of `source`, or return None if all
        are in use.

        A retained source of which nothing would be lost is taken over; so is one when there is no
        other slot left.
        """
        slot = self._slot_for(source, n)
        if slot is None:
            return None
        if source is None or source is slot:
            self._truncate(slot, n)
        else:
            self._copy(source, slot, n)
        slot.owner = owner
        self._touch(slot)
        return slot

    def reserve(self, slot: Slot, n: int) -> bool:
        """Take `n` more cells for `slot`, evicting retained slots if need be; False if that is not
        enough.
        """
        if not self.evict_until(n):
            return False
        slot.cells.extend(self.cells.take(n))
        return True

    def commit(self, slot: Slot, tokens: array[int]) -> None:
        """Note that the reserved cells of `slot` now hold `tokens`."""
        slot.tokens.extend(tokens)
        assert len(slot.tokens) == len(slot.cells), "a step computed other tokens than were planned"

    def unreserve(self, slot: Slot) -> None:
        """Give back the cells of `slot` that were reserved but not computed."""
        n = len(slot.tokens)
        self.cells.drop(slot.cell_ids[n:])
        del slot.cells[n:]

    def release(self, slot: Slot) -> None:
        """Leave `slot` retained for others to reuse."""
        if not self.shares_prefixes:
            self.clear(slot)
            return
        self.unreserve(slot)
        slot.owner = None
        self._touch(slot)

    def clear(self, slot: Slot) -> None:
        """Drop everything `slot` holds; its sequence id is free."""
        slot.owner = None
        self._truncate(slot, 0)

    def evict_until(self, n_free: int) -> bool:
        """Evict retained slots, least recently used first, until `n_free` cells are free."""
        while self.cells.n_free < n_free:
            slot = self._oldest_retained()
            if slot is None:
                return False
            self.clear(slot)
        return True

    def take_operations(self) -> list[MemoryOp]:
        """Return the memory operations since the last call."""
        operations, self.operations = self.operations, []
        return operations

    def check(self) -> None:
        """Assert that no cell is lost or miscounted (debug mode, tests)."""
        self.cells.check([slot.cell_ids for slot in self.slots])
        for slot in self.slots:
            assert len(slot.tokens) == len(slot.cells), (
                "a slot's tokens and cells differ between steps"
            )

    def _slot_for(self, source: Slot | None, n: int) -> Slot | None:
        if source is not None and source.is_retained and len(source.tokens) == n:
            return source
        empty = next((slot for slot in self.slots if slot.owner is None and not slot.cells), None)
        if empty is not None:
            return empty
        oldest = self._oldest_retained(keep=source)
        if oldest is not None:
            self.clear(oldest)
            return oldest
        return source if source is not None and source.is_retained else None

    def _oldest_retained(self, keep: Slot | None = None) -> Slot | None:
        retained: Iterable[Slot] = (
            slot for slot in self.slots if slot.is_retained and slot is not keep
        )
        return min(retained, key=lambda slot: slot.last_used, default=None)

    def _copy(self, source: Slot, target: Slot, n: int) -> None:
        cells = source.cell_ids[:n]
        self.cells.share(cells)
        target.cells = array("i", cells.tolist())
        target.tokens = source.tokens[:n]
        self._touch(source)
        if n > 0:
            self.operations.append(CopyPrefix(source.seq_id, target.seq_id, n))

    def _truncate(self, slot: Slot, n: int) -> None:
        if len(slot.cells) > n:
            self.cells.drop(slot.cell_ids[n:])
            del slot.cells[n:]
            del slot.tokens[n:]
            self.operations.append(Truncate(slot.seq_id, n))

    def _touch(self, slot: Slot) -> None:
        self._clock += 1
        slot.last_used = self._clock
