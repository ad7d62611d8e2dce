"""ContextMemory: the KV cache or state of each sequence, and how to cut, copy and save it."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

from llamabind._capi import llama
from llamabind._capi.types import ContextHandle, MemoryHandle
from llamabind.checks import INT32_MAX, check_int
from llamabind.context.saved_state import PARTIAL_ONLY, SavedState
from llamabind.errors import InvalidParameterError, StateError
from llamabind.native.handle import Handle
from llamabind.native.log import native_log

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MIN_POS: Final = -(2**31)


class ContextMemory(Handle[ContextHandle]):
    """The memory half of a Context (llama_memory_* and llama_state_* of llama.h).

    Position ranges are half-open, [p0, p1); a negative p0 is the start, a negative p1 the end. In
    an encoder, which has no memory, these methods do nothing.
    """

    n_seq_max: int
    _copies_only_whole: bool
    # llama.cpp defers copies in a split KV cache and position shifts to the next decode.
    _has_pending_update = False

    @property
    def _memory(self) -> MemoryHandle:
        # NULL for an encoder: all functions then do nothing.
        return llama.llama_get_memory(self.ptr) or MemoryHandle(0)

    @property
    def has_memory(self) -> bool:
        """Whether decoded tokens stay in a KV cache or state; false for encoders."""
        return self._memory != 0

    @property
    def memory_can_shift(self) -> bool:
        """Whether memory_seq_add and memory_seq_div work."""
        return llama.llama_memory_can_shift(self._memory)

    def memory_clear(self, *, data: bool = False) -> None:
        """Forget all sequences; with `data` also overwrite the buffers."""
        llama.llama_memory_clear(self._memory, data)
        self._has_pending_update = False

    def memory_seq_rm(self, seq_id: int, p0: int = -1, p1: int = -1) -> bool:
        """Forget the tokens of a sequence in [p0, p1).

        Returns False, with nothing removed, where this memory cannot be cut (recurrent states).
        With a sliding window it returns True even if the cells before p0 have left the window
        already: check memory_seq_pos_min() afterwards. Removing a whole sequence always works.
        """
        self._check_sequence(seq_id)
        return llama.llama_memory_seq_rm(self._memory, seq_id, _pos("p0", p0), _pos("p1", p1))

    def memory_seq_cp(self, source: int, target: int, p0: int = -1, p1: int = -1) -> None:
        """Add the tokens of `source` in [p0, p1) to the sequence `target`.

        A unified KV cache shares the cells without copying. With a split KV cache (`kv_unified`
        False) only a whole sequence can be copied, and it replaces the target's tokens; other
        ranges, on which native code aborts, raise InvalidParameterError.
        """
        self._check_sequence(source)
        self._check_sequence(target)
        if self._copies_only_whole and source != target:
            if p0 > 0 or p1 >= 0:
                raise InvalidParameterError(
                    "p0, p1", f"only a whole sequence can be copied here, not [{p0}, {p1})"
                )
            self._has_pending_update = True
        llama.llama_memory_seq_cp(self._memory, source, target, _pos("p0", p0), _pos("p1", p1))

    def memory_seq_keep(self, seq_id: int) -> None:
        """Forget all other sequences."""
        self._check_sequence(seq_id)
        if self._copies_only_whole:
            # llama_kv_cache::seq_keep only changes the part of a split KV cache that has seq_id.
            for other in range(self.n_seq_max):
                if other != seq_id:
                    self.memory_seq_rm(other)
        else:
            llama.llama_memory_seq_keep(self._memory, seq_id)

    def memory_seq_add(self, seq_id: int, p0: int, p1: int, delta: int) -> None:
        """Move the positions in [p0, p1) by `delta`, as context shift does."""
        self._check_shift(seq_id)
        check_int("delta", delta, -INT32_MAX, INT32_MAX)
        last = self.memory_seq_pos_max(seq_id)
        if last + delta > INT32_MAX:
            raise InvalidParameterError("delta", f"position {last} + {delta} does not fit 32 bits")
        llama.llama_memory_seq_add(self._memory, seq_id, _pos("p0", p0), _pos("p1", p1), delta)
        self._has_pending_update = True

    def memory_seq_div(self, seq_id: int, p0: int, p1: int, divisor: int) -> None:
        """Divide the positions in [p0, p1) by `divisor`, at least 1 (self-extend)."""
        self._check_shift(seq_id)
        check_int("divisor", divisor, 1, INT32_MAX)
        llama.llama_memory_seq_div(self._memory, seq_id, _pos("p0", p0), _pos("p1", p1), divisor)
        self._has_pending_update = True

    def memory_seq_pos_min(self, seq_id: int) -> int:
        """Return the smallest position in memory, -1 for an empty sequence."""
        self._check_sequence(seq_id)
        return llama.llama_memory_seq_pos_min(self._memory, seq_id)

    def memory_seq_pos_max(self, seq_id: int) -> int:
        """Return the largest position in memory, -1 for an empty sequence."""
        self._check_sequence(seq_id)
        return llama.llama_memory_seq_pos_max(self._memory, seq_id)

    def state_save(self) -> SavedState:
        """Return a copy of the memory of all sequences. Raises StateError."""
        import numpy as np

        self._check_no_pending_update()
        data = np.empty(llama.llama_state_get_size(self.ptr), np.uint8)
        position = native_log.position()
        n = llama.llama_state_get_data(self.ptr, _c_array(data), data.size)
        if n == 0 or n != data.size:
            raise _failure("the state could not be saved", position)
        return SavedState(data, is_sequence=False)

    def state_load(self, state: SavedState) -> None:
        """Replace the memory of all sequences; after a StateError it is empty."""
        self._check_no_pending_update()
        if state.is_sequence:
            raise StateError("this is the state of one sequence: use state_seq_load")
        position = native_log.position()
        self._forget_outputs()
        n = llama.llama_state_set_data(self.ptr, _c_array(state.data), state.data.size)
        if n == 0 or n != state.data.size:
            self.memory_clear()
            raise _failure("the state does not fit this context", position)

    def state_seq_size(self, seq_id: int, *, partial_only: bool = False) -> int:
        """Return the size of state_seq_save's result for this sequence in bytes."""
        self._check_sequence(seq_id)
        self._check_no_pending_update()
        flags = PARTIAL_ONLY if partial_only else 0
        return llama.llama_state_seq_get_size_ext(self.ptr, seq_id, flags)

    def state_seq_save(self, seq_id: int, *, partial_only: bool = False) -> SavedState:
        """Return a copy of one sequence's memory. Raises StateError.

        `partial_only` saves only what memory_seq_rm cannot roll back, the sliding window or the
        recurrent state: a checkpoint to return to.
        """
        import numpy as np

        n_bytes = self.state_seq_size(seq_id, partial_only=partial_only)
        flags = PARTIAL_ONLY if partial_only else 0
        data = np.empty(n_bytes, np.uint8)
        position = native_log.position()
        n = llama.llama_state_seq_get_data_ext(self.ptr, _c_array(data), data.size, seq_id, flags)
        if n == 0 or n != data.size:
            raise _failure(f"sequence {seq_id} could not be saved", position)
        return SavedState(data, is_sequence=True, flags=flags)

    def state_seq_load(self, seq_id: int, state: SavedState) -> None:
        """Replace the memory of one sequence; after a StateError the sequence is empty."""
        self._check_sequence(seq_id)
        self._check_no_pending_update()
        if not state.is_sequence:
            raise StateError("this is the state of a whole context: use state_load")
        position = native_log.position()
        n = llama.llama_state_seq_set_data_ext(
            self.ptr, _c_array(state.data), state.data.size, seq_id, state.flags
        )
        if n == 0 or n != state.data.size:
            self.memory_seq_rm(seq_id)
            raise _failure(f"the state does not fit sequence {seq_id} of this context", position)

    def _forget_outputs(self) -> None:
        """Called when the outputs of the last decode become invalid."""

    def _check_sequence(self, seq_id: int) -> None:
        if not 0 <= seq_id < self.n_seq_max:
            raise InvalidParameterError(
                "seq_id", f"sequence {seq_id} is not in 0..{self.n_seq_max - 1}"
            )

    def _check_shift(self, seq_id: int) -> None:
        self._check_sequence(seq_id)
        if not self.memory_can_shift:
            raise InvalidParameterError("seq_id", "this model's memory cannot be shifted")

    def _check_no_pending_update(self) -> None:
        if self._has_pending_update:
            raise StateError(
                "a sequence copy or a position shift takes effect in the next decode: decode first"
            )


def _pos(name: str, value: int) -> int:
    check_int(name, value, _MIN_POS, INT32_MAX)
    return value


def _c_array(data: NDArray[np.uint8]) -> ctypes.Array[ctypes.c_uint8]:
    return (ctypes.c_uint8 * data.size).from_address(data.ctypes.data)


def _failure(what: str, position: int) -> StateError:
    lines = native_log.lines_since(position)[-2:]
    return StateError("; ".join([what, *lines]))
