"""The second tier of the KV cache: saved states in host memory, and which of them to keep."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamabind.kv_cache.operations import DropState
from llamabind.kv_cache.prefix import common_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Set

    from llamabind.kv_cache.operations import MemoryOp


@dataclass(frozen=True, slots=True)
class StateSize:
    """How many bytes a saved state takes, to make room for it in advance.

    `fixed` bytes for what cannot be cut, also the size of a partial state, and `per_token` bytes
    for each token of a full one.
    """

    fixed: int = 0
    per_token: int = 0

    def of(self, n_tokens: int, *, is_partial: bool) -> int:
        """Return the bytes for a state of `n_tokens`."""
        return self.fixed if is_partial else self.fixed + n_tokens * self.per_token


class StoredState:
    """The KV of exactly `tokens`, in host memory; with `is_partial` only what cannot be cut.

    It is of use once `is_stored`: the runner has said that it could be saved.
    """

    __slots__ = ("is_partial", "is_stored", "last_used", "n_bytes", "state_id", "tokens")

    def __init__(self, state_id: int, tokens: array[int], n_bytes: int, is_partial: bool) -> None:
        self.state_id = state_id
        self.tokens = tokens
        self.n_bytes = n_bytes
        self.is_partial = is_partial
        self.is_stored = False
        self.last_used = state_id


class HostCache:
    """Which states are in host memory: at most `limit` bytes, the least recently used go first.

    Pure policy; the runner holds the bytes (MemoryExecutor). A state is good for one model and
    context, which never change while an engine lives, and for exactly its tokens. With `limit` 0
    nothing is kept. `is_cuttable` says that a restored state can be cut to any shorter prefix, so
    that one which is a prefix of another is of no use beside it.
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

    @property
    def n_bytes(self) -> int:
        """What all states take, those under way included."""
        return sum(state.n_bytes for state in self._states.values())

    def save(self, tokens: array[int], *, is_partial: bool = False) -> StoredState | None:
        """Make room for the state of `tokens` and return it, to be saved in this step.

        None if it is there already or does not fit.
        """
        n_bytes = self._size.of(len(tokens), is_partial=is_partial)
        if self._is_known(tokens, is_partial) or n_bytes > self.limit or self.limit == 0:
            return None
        if self._is_cuttable:
            self._drop_prefixes_of(tokens)
        self._make_room(n_bytes)
        self._clock += 1
        state = StoredState(self._clock, array("i", tokens), n_bytes, is_partial)
        self._states[state.state_id] = state
        self._pending.add(state.state_id)
        return state

    def confirm(self, sizes: Mapping[int, int]) -> None:
        """Note the true sizes of the states that were saved; the others under way are lost."""
        for state_id in self._pending:
            state = self._states.get(state_id)
            if state is None:
                # Dropped in the very step that saved it.
                self._dropped.append(state_id)
            elif state_id in sizes:
                state.n_bytes = sizes[state_id]
                state.is_stored = True
            else:
                self._drop(state)
        self._pending.clear()
        self._make_room(0)

    def matches(self, tokens: array[int]) -> Iterator[tuple[StoredState, int]]:
        """Yield every stored state with the length of the prefix that it and `tokens` share."""
        for state in self._states.values():
            if state.is_stored:
                n = common_prefix(state.tokens, tokens)
                if n > 0:
                    yield state, n

    def touch(self, state: StoredState) -> None:
        """Note that `state` was of use."""
        self._clock += 1
        state.last_used = self._clock

    def clear(self) -> None:
        """Drop every state."""
        for state in list(self._states.values()):
            self._drop(state)

    def take_drops(self) -> list[MemoryOp]:
        """Return the orders to free what was dropped since the last call.

        They come after all others of a step: what is dropped to make room may still be restored.
        """
        dropped, self._dropped = self._dropped, []
        return [DropState(state_id) for state_id in dropped]

    def check(self, ordered: Set[int] = frozenset()) -> None:
        """Assert that the limit is kept and nothing is under way but the states whose saving is
        `ordered` for the next step (debug mode, tests).
        """
        assert self.n_bytes <= self.limit, "the host cache is larger than its limit"
        assert self._pending <= ordered, "a state is neither saved nor lost"

    def _is_known(self, tokens: array[int], is_partial: bool) -> bool:
        for state in self._states.values():
            if state.is_partial != is_partial or common_prefix(state.tokens, tokens) < len(tokens):
                continue
            if self._is_cuttable or len(state.tokens) == len(tokens):
                self.touch(state)
                return True
        return False

    def _drop_prefixes_of(self, tokens: array[int]) -> None:
        for state in list(self._states.values()):
            if common_prefix(state.tokens, tokens) == len(state.tokens):
                self._drop(state)

    def _make_room(self, n_bytes: int) -> None:
        n_held = self.n_bytes
        while n_held + n_bytes > self.limit:
            oldest = min(self._states.values(), key=lambda state: state.last_used)
            n_held -= oldest.n_bytes
            self._drop(oldest)

    def _drop(self, state: StoredState) -> None:
        del self._states[state.state_id]
        self._dropped.append(state.state_id)
