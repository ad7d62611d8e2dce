"""HostCache: which saved states are in host memory, the second tier of the KV cache."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamabind.kv_cache.operations import DropState
from llamabind.kv_cache.prefix import common_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Set

    from llamabind.kv_cache.operations import MemoryOp
    from llamabind.kv_cache.slot import Adapters


@dataclass(frozen=True, slots=True)
class StateSize:
    """An estimate of a saved state's bytes, to evict other states before it is saved.

    `fixed` bytes are the part that cannot be cut, which is all of a partial state; a full state has
    `per_token` bytes more for each token.
    """

    fixed: int = 0
    per_token: int = 0

    def of(self, n_tokens: int, *, is_partial: bool) -> int:
        """Return the estimated bytes of a state of `n_tokens`."""
        return self.fixed if is_partial else self.fixed + n_tokens * self.per_token


class StoredState:
    """The KV state of exactly `tokens` in host memory; with `is_partial` only what cannot be cut.

    It can be restored once `is_stored`: the runner has confirmed that it was saved. `adapters` and
    `is_private` as in Slot.
    """

    __slots__ = (
        "adapters",
        "is_partial",
        "is_private",
        "is_stored",
        "last_used",
        "n_bytes",
        "state_id",
        "tokens",
    )

    def __init__(
        self,
        state_id: int,
        tokens: array[int],
        n_bytes: int,
        is_partial: bool,
        adapters: Adapters = (),
    ) -> None:
        self.adapters = adapters
        self.state_id = state_id
        self.tokens = tokens
        self.n_bytes = n_bytes
        self.is_partial = is_partial
        self.is_private = False
        self.is_stored = False
        self.last_used = state_id


class HostCache:
    """An index of the states in host memory: at most `limit` bytes; drops the least recently used.

    Pure policy; MemoryExecutor holds the bytes. A state is valid for one model and context, which
    do not change while an engine exists, for one set of adapters, and for exactly its tokens. With
    `limit` 0 nothing is saved. With `is_cuttable` a restored state can be cut to any shorter
    prefix, so a state that is a prefix of another one is dropped.
    """

    def __init__(self, limit: int, size: StateSize, *, is_cuttable: bool = True) -> None:
        self.limit = limit
        self._size = size
        self._is_cuttable = is_cuttable
        self._states: dict[int, StoredState] = {}
        self._pending: set[int] = set()
        self._dropped: list[int] = []
        self._clock = 0

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self) -> Iterator[StoredState]:
        """Yield the states that can be restored."""
        return (state for state in self._states.values() if state.is_stored)

    @property
    def n_bytes(self) -> int:
        """The bytes of all states, those that are still to be saved included."""
        return sum(state.n_bytes for state in self._states.values())

    def save(
        self,
        tokens: array[int],
        *,
        is_partial: bool = False,
        adapters: Adapters = (),
        is_private: bool = False,
    ) -> StoredState | None:
        """Add a state of `tokens`, which the caller must save in this step, and evict others for
        it.

        None if the same state is saved already or is larger than the limit.
        """
        n_bytes = self._size.of(len(tokens), is_partial=is_partial)
        state = self._add(tokens, n_bytes, is_partial, adapters)
        if state is not None:
            state.is_private = is_private
            self._pending.add(state.state_id)
        return state

    def adopt(
        self,
        tokens: array[int],
        n_bytes: int,
        *,
        is_partial: bool = False,
        adapters: Adapters = (),
    ) -> StoredState | None:
        """Add a state whose bytes the caller has read from elsewhere and gives to the runner now.

        None as for `save`.
        """
        state = self._add(tokens, n_bytes, is_partial, adapters)
        if state is not None:
            state.is_stored = True
        return state

    def drop(self, state: StoredState) -> None:
        """Remove a state."""
        self._drop(state)

    def confirm(self, sizes: Mapping[int, int]) -> None:
        """Note the sizes in bytes of the saved states, by id; pending ones without a size are
        dropped.
        """
        for state_id in self._pending:
            state = self._states.get(state_id)
            if state is None:
                # Evicted in the same step that saved it.
                self._dropped.append(state_id)
            elif state_id in sizes:
                state.n_bytes = sizes[state_id]
                state.is_stored = True
            else:
                self._drop(state)
        self._pending.clear()
        self._evict_for(0)

    def matches(
        self, tokens: array[int], adapters: Adapters = ()
    ) -> Iterator[tuple[StoredState, int]]:
        """Yield every stored state with the length of the prefix that it and `tokens` share."""
        for state in self._states.values():
            if state.is_stored and state.adapters == adapters:
                n = common_prefix(state.tokens, tokens)
                if n > 0:
                    yield state, n

    def touch(self, state: StoredState) -> None:
        """Note that `state` was used now."""
        self._clock += 1
        state.last_used = self._clock

    def take_drops(self) -> list[MemoryOp]:
        """Return the operations that free the states dropped since the last call.

        They must come last in a step, since the step may restore a state before dropping it.
        """
        dropped, self._dropped = self._dropped, []
        return [DropState(state_id) for state_id in dropped]

    def check(self, planned: Set[int] = frozenset()) -> None:
        """Assert that the limit holds and no state is pending but `planned` ones (debug mode,
        tests).

        `planned` are the ids of states that the next step will save.
        """
        assert self.n_bytes <= self.limit, "the host cache is larger than its limit"
        assert self._pending <= planned, "a state is neither saved nor lost"

    def _add(
        self, tokens: array[int], n_bytes: int, is_partial: bool, adapters: Adapters
    ) -> StoredState | None:
        if self._is_known(tokens, is_partial, adapters) or n_bytes > self.limit or self.limit == 0:
            return None
        if self._is_cuttable:
            self._drop_prefixes_of(tokens, adapters)
        self._evict_for(n_bytes)
        self._clock += 1
        state = StoredState(self._clock, array("i", tokens), n_bytes, is_partial, adapters)
        self._states[state.state_id] = state
        return state

    def _is_known(self, tokens: array[int], is_partial: bool, adapters: Adapters) -> bool:
        for state in self._states.values():
            if (state.is_partial, state.adapters) != (is_partial, adapters):
                continue
            if common_prefix(state.tokens, tokens) < len(tokens):
                continue
            if self._is_cuttable or len(state.tokens) == len(tokens):
                self.touch(state)
                return True
        return False

    def _drop_prefixes_of(self, tokens: array[int], adapters: Adapters) -> None:
        for state in list(self._states.values()):
            is_prefix = common_prefix(state.tokens, tokens) == len(state.tokens)
            if is_prefix and state.adapters == adapters:
                self._drop(state)

    def _evict_for(self, n_bytes: int) -> None:
        n_held = self.n_bytes
        while n_held + n_bytes > self.limit:
            oldest = min(self._states.values(), key=lambda state: state.last_used)
            n_held -= oldest.n_bytes
            self._drop(oldest)

    def _drop(self, state: StoredState) -> None:
        del self._states[state.state_id]
        self._dropped.append(state.state_id)
