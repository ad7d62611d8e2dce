"""PrefixExchange: chooses the states to write to files, and adopts states read from files.

Engine thread only.
"""

from __future__ import annotations

import logging
from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias

from llamabind.disk_cache.index import MIN_TOKENS, PrefixEntry
from llamabind.engine.slot_file import SlotContent
from llamabind.errors import StateError
from llamabind.kv_cache.executor import has_free_memory
from llamabind.kv_cache.prefix import common_prefix

if TYPE_CHECKING:
    from array import array

    from llamabind.context.saved_state import SavedState
    from llamabind.disk_cache.index import PrefixIndex
    from llamabind.disk_cache.prefix_key import PrefixKeys
    from llamabind.engine.engine import Engine
    from llamabind.kv_cache.host_cache import StoredState
    from llamabind.kv_cache.slot import Adapters, Slot

logger = logging.getLogger(__name__)

_Seen: TypeAlias = dict[tuple[str, int], tuple[int, int]]
_BY_USE = attrgetter("last_used")


class PrefixExchange:
    """Takes states out of slots and the host cache, and puts states from files into them."""

    def __init__(
        self,
        engine: Engine,
        index: PrefixIndex,
        keys: PrefixKeys,
        projector: tuple[str, int] | None = None,
    ) -> None:
        self._engine = engine
        self._pool = engine.slots
        self._host = engine.slots.host
        self._index = index
        self._keys = keys
        self._projector = projector
        # The last use of each slot or state that was compared with the files, by its kind and id.
        self._seen: _Seen = {}
        self._seen_last: _Seen = {}
        self._used: set[str] = set()

    def take_used(self) -> set[str]:
        """Return the names of the files whose prefixes were used since the last call."""
        used, self._used = self._used, set()
        return used

    def take(self, *, copies: bool, is_last: bool = False) -> SlotContent | None:
        """Return the most recently used state that is worth a file; None if none is left.

        With `copies` the states of retained slots count too. Copying one delays all sequences.
        `is_last` as in PrefixIndex.lacks.
        """
        seen = self._seen_last if is_last else self._seen
        if copies:
            retained = [slot for slot in self._pool if slot.is_retained]
            for slot in sorted(retained, key=_BY_USE, reverse=True):
                content = self._take_slot(slot, seen, is_last=is_last)
                if content is not None:
                    return content
        stored = sorted(self._host, key=_BY_USE, reverse=True)
        known = {("state", state.state_id) for state in stored}
        for gone in [place for place in seen if place[0] == "state" and place not in known]:
            del seen[gone]
        for state in stored:
            content = self._take_stored(state, seen, is_last=is_last)
            if content is not None:
                return content
        return None

    def find(self, tokens: array[int], adapters: Adapters) -> tuple[PrefixEntry, ...]:
        """Return the files to read for a prompt; () if memory has enough of the prefix."""
        key = self._keys.of(adapters)
        if len(tokens) <= MIN_TOKENS or not self._index.may_have(key, tokens):
            return ()
        n_have = self._pool.longest_prefix(tokens, adapters).n
        found = self._index.find(key, tokens, n_have, self._n_held(tokens, adapters))
        return found if sum(entry.n_bytes for entry in found) <= self._host.limit else ()

    def has_room(self, entry: PrefixEntry) -> bool:
        """True if no request runs, a slot is empty, and enough cells are free for the state."""
        is_empty = any(slot.owner is None and not slot.cells for slot in self._pool)
        fits = len(entry.tokens) <= self._pool.cells.n_free
        return is_empty and fits and not self._engine.has_work

    def adopt(
        self, entry: PrefixEntry, state: SavedState, adapters: Adapters, *, evicts: bool
    ) -> bool:
        """Put a state from a file into the host cache, and a whole state also into a slot if one is
        free.

        With `evicts` a retained slot may be evicted. False if the state does not fit the context;
        its file is then useless.
        """
        stored = self._host.adopt(
            entry.tokens, state.n_bytes, is_partial=entry.is_partial, adapters=adapters
        )
        if stored is None:
            return True
        self._engine.hold_state(stored.state_id, state)
        self._engine.flush_memory()
        fits = True
        if not entry.is_partial and (evicts or self.has_room(entry)):
            fits = self._place(stored)
        self._unmap(stored, state)
        return fits

    def _unmap(self, stored: StoredState, state: SavedState) -> None:
        """Copy a state that stays in the host cache: mapped, its file would keep the disk's space
        after it is removed, and could be changed.
        """
        if not any(kept is stored for kept in self._host):
            return
        try:
            self._engine.hold_state(stored.state_id, state.in_memory())
        except MemoryError:
            self._host.drop(stored)
            self._engine.flush_memory()

    def _place(self, stored: StoredState) -> bool:
        """Restore a state into a slot, from where a prompt reuses it without a copy."""
        prefix = self._pool.longest_prefix(stored.tokens + stored.tokens[-1:], stored.adapters)
        if prefix.full is not stored or not self._pool.fits(prefix, 0):
            return True
        slot = self._pool.open(stored, prefix, None, stored.adapters)
        if slot is None:
            return True
        try:
            self._engine.flush_memory()
        except StateError as error:
            logger.warning("a kept prefix does not fit this context: %s", error)
            self._pool.release(slot)
            self._pool.erase(slot)
            self._host.drop(stored)
            self._engine.flush_memory()
            return False
        self._pool.release(slot)
        self._seen["slot", slot.seq_id] = _use_of(slot)
        if self._pool.is_cuttable:
            # The slot has it; if it is evicted, it is saved again.
            self._host.drop(stored)
            self._engine.flush_memory()
        return True

    def _n_held(self, tokens: array[int], adapters: Adapters) -> int:
        """Return how many first `tokens` are those of a slot or of a whole saved state."""
        slots = (
            common_prefix(slot.tokens, tokens) for slot in self._pool if slot.adapters == adapters
        )
        states = (n for state, n in self._host.matches(tokens, adapters) if not state.is_partial)
        return max([0, *slots, *states])

    def _take_slot(self, slot: Slot, seen: _Seen, *, is_last: bool) -> SlotContent | None:
        place, use = ("slot", slot.seq_id), _use_of(slot)
        if slot.is_private or seen.get(place) == use:
            return None
        seen[place] = use
        if not self._is_wanted(slot.tokens, slot.adapters, is_last=is_last):
            return None
        self._engine.flush_memory()
        context = self._engine.context
        if not has_free_memory(context.state_seq_size(slot.seq_id)):
            return None
        try:
            state = context.state_seq_save(slot.seq_id)
            return self._content(slot.tokens, slot.adapters, state)
        except (StateError, MemoryError) as error:
            logger.warning("a prefix is not kept: %s", error)
            return None

    def _take_stored(self, state: StoredState, seen: _Seen, *, is_last: bool) -> SlotContent | None:
        place, use = ("state", state.state_id), (state.last_used, len(state.tokens))
        if state.is_private or seen.get(place) == use:
            return None
        seen[place] = use
        if not self._is_wanted(
            state.tokens, state.adapters, is_partial=state.is_partial, is_last=is_last
        ):
            return None
        saved = self._engine.held_state(state.state_id)
        return self._content(state.tokens, state.adapters, saved)

    def _is_wanted(
        self,
        tokens: array[int],
        adapters: Adapters,
        *,
        is_partial: bool = False,
        is_last: bool = False,
    ) -> bool:
        if len(tokens) < MIN_TOKENS:
            return False
        key = self._keys.of(adapters)
        if not self._index.lacks(key, tokens, is_partial=is_partial, is_last=is_last):
            self._used.update(self._index.covering(key, tokens, is_partial=is_partial))
            return False
        try:
            self._engine.known_media.find(tokens)
        except StateError:
            return False  # its images or audio are no longer known
        return True

    def _content(self, tokens: array[int], adapters: Adapters, state: SavedState) -> SlotContent:
        media = self._engine.known_media.find(tokens)
        projector = self._projector if media else None
        return SlotContent(self._keys.of(adapters), tokens[:], state, media, projector)


def entry_of(name: str, content: SlotContent, n_bytes: int, used_at: float) -> PrefixEntry:
    """Return the entry of a file that was written with `content`."""
    is_partial = bool(content.state.flags)
    return PrefixEntry(name, content.key, content.tokens, is_partial, n_bytes, used_at)


def _use_of(slot: Slot) -> tuple[int, int]:
    return slot.last_used, len(slot.tokens)
