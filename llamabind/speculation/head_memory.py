"""HeadMemory: the draft heads' KV cache, with the same slots as the model's cache."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from llamabind.errors import NoKvSlotError, StateError
from llamabind.kv_cache.operations import (
    CopyAll,
    CopyPrefix,
    DropState,
    RestoreState,
    SaveState,
    Truncate,
)
from llamabind.speculation.head_rows import HeadRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from llamabind.context.context import Context
    from llamabind.context.hidden_states import HiddenBatch
    from llamabind.context.saved_state import SavedState
    from llamabind.kv_cache.operations import MemoryOp


class HeadLayout(Enum):
    """The location of the heads' KV cell of a token."""

    OWN = auto()
    """In a cache of their own, at the token's position."""

    AHEAD = auto()
    """In a cache of their own, one position before the token's, as in EAGLE-3."""

    SHARED = auto()
    """In the model's cache: the heads read its cells and have none, like Gemma 4's assistants."""


class HeadMemory:
    """Computes the heads' KV cells of tokens that the model has computed. Engine thread only.

    A head's cell for a token needs the model's hidden state of the token before it, so it can only
    be computed after a step of the model. At most `n_kept` tokens of a slot stay uncomputed, since
    computing them in the batch of the next draft costs almost no time. All slots share one unified
    cache, even if the model's cache is split.
    """

    def __init__(
        self,
        context: Context,
        batch: HiddenBatch,
        decode: Callable[[], None],
        *,
        n_kept: int,
        layout: HeadLayout = HeadLayout.OWN,
    ) -> None:
        self._context = context
        self._batch = batch
        self._decode = decode
        self._n_kept = n_kept
        self.shift = -1 if layout is HeadLayout.AHEAD else 0
        self._rows: dict[int, HeadRows] = {}
        self._states: dict[int, SavedState] = {}

    def rows(self, seq_id: int) -> HeadRows:
        """The uncomputed tokens of a slot."""
        rows = self._rows.get(seq_id)
        if rows is None:
            rows = self._rows[seq_id] = HeadRows(self._batch.hidden.shape[1])
        return rows

    def settle(self, seq_id: int) -> HeadRows:
        """Return the rows of a slot without those that are in the cache.

        The next token to compute then continues the cache; a cache that cannot continue is emptied.
        """
        rows = self.rows(seq_id)
        n_cached = self._context.memory_seq_pos_max(seq_id) + 1 - self.shift
        if n_cached == -self.shift:  # empty: a sequence may begin at any position
            n_cached = rows.first if self.shift == 0 or rows.first > 0 else 1
        if n_cached > rows.end:
            # A draft computed the newest token, but the model's next step did not.
            self._context.memory_seq_rm(seq_id, max(rows.end + self.shift, 0), -1)
            n_cached = rows.end
        if n_cached < rows.first:
            self._context.memory_seq_rm(seq_id)
        else:
            rows.drop_before(n_cached)
        return rows

    def keep_up(self, seq_id: int) -> None:
        """Compute the slot's tokens if more than `n_kept` are uncomputed."""
        if len(self.rows(seq_id).tokens) > self._n_kept:
            self.catch_up(seq_id)

    def catch_up(self, seq_id: int) -> None:
        """Compute all of the slot's tokens. Raises DecodeError, except if cells run out."""
        rows = self.settle(seq_id)
        n_most = self._batch.n_tokens_max
        while rows.tokens:
            self._batch.clear()
            self.add(rows, seq_id, min(len(rows.tokens), n_most))
            if len(self._batch):
                try:
                    self._decode()
                except NoKvSlotError:
                    self._context.memory_seq_rm(seq_id)
            rows.drop_before(rows.first + min(len(rows.tokens), n_most))

    def add(self, rows: HeadRows, seq_id: int, n: int) -> None:
        """Add the first `n` tokens of `rows` to the batch, without outputs."""
        skipped = 1 if rows.first + self.shift < 0 else 0  # EAGLE-3 has no cell for the first token
        if n > skipped:
            position = rows.first + skipped + self.shift
            first = self._batch.extend(rows.tokens[skipped:n], position, seq_id)
            self._batch.hidden[first : first + n - skipped] = rows.hidden[skipped:n]

    def forget_all(self) -> None:
        """Empty the cache after a failure; sequences start again with their next token."""
        self._context.memory_clear()
        for rows in self._rows.values():
            rows.restart(rows.end)

    def carry_out(self, operations: Iterable[MemoryOp]) -> dict[int, int]:
        """Do the operations of the model's memory; return the bytes of each saved state, by its id.

        Raises DecodeError.
        """
        saved: dict[int, int] = {}
        for operation in operations:
            match operation:
                case CopyPrefix(source, target, n):
                    self._copy(source, target, n)
                case CopyAll(source, target):
                    self._copy(source, target, -1)
                case Truncate(seq_id, n):
                    self._context.memory_seq_rm(seq_id, max(n + self.shift, 0), -1)
                    self.rows(seq_id).cut(n)
                case SaveState():
                    self._save(operation, saved)
                case RestoreState(seq_id, state_id):
                    self._restore(seq_id, state_id)
                case DropState(state_id):
                    self._states.pop(state_id, None)
        return saved

    def close(self) -> None:
        """Free all saved states."""
        self._states.clear()

    def _copy(self, source: int, target: int, n: int) -> None:
        self.catch_up(source)
        self._context.memory_seq_rm(target)
        last = n if n < 0 else max(n + self.shift, 0)
        self._context.memory_seq_cp(source, target, 0, last)
        self.rows(target).restart(self.rows(source).end if n < 0 else n)

    def _save(self, operation: SaveState, saved: dict[int, int]) -> None:
        if operation.is_partial:
            return  # the heads' memory can be cut anywhere
        self.catch_up(operation.seq_id)
        try:
            state = self._context.state_seq_save(operation.seq_id)
        except (StateError, MemoryError):
            return  # without the state the heads start with an empty cache
        self._states[operation.state_id] = state
        saved[operation.state_id] = state.n_bytes

    def _restore(self, seq_id: int, state_id: int) -> None:
        state = self._states.get(state_id)
        if state is not None:
            try:
                self._context.state_seq_load(seq_id, state)
            except StateError:
                return  # the sequence is empty then
            n_cached = self._context.memory_seq_pos_max(seq_id) + 1 - self.shift
            self.rows(seq_id).restart(n_cached)
