"""Batch: the tokens of one decode, with their positions and sequences."""

from __future__ import annotations

import ctypes
from array import array
from typing import TYPE_CHECKING, Final

from llamabind._capi import types
from llamabind.checks import INT32_MAX, check_int
from llamabind.context.params import MAX_SEQUENCES
from llamabind.errors import HandleClosedError, InvalidParameterError
from llamabind.system.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

_EMPTY: Final = (INT32_MAX, -INT32_MAX - 1, INT32_MAX, -INT32_MAX - 1)


class Batch(Closing):
    """Up to `n_tokens_max` tokens for Context.decode (struct llama_batch of llama.h).

    A token may belong to up to `n_seq_max` sequences. The arrays belong to Python, so C has nothing
    to free. Used by one thread at a time; reuse it with clear(), since making a batch costs more
    than filling it.
    """

    def __init__(self, n_tokens_max: int, n_seq_max: int = 1) -> None:
        check_int("n_tokens_max", n_tokens_max, 1, INT32_MAX)
        check_int("n_seq_max", n_seq_max, 1, MAX_SEQUENCES)
        self.n_tokens_max = n_tokens_max
        self.n_seq_max = n_seq_max
        self._n = 0
        self._is_closed = False
        self._ranges: tuple[int, int, int, int] | None = _EMPTY
        self._max_seq_id = -1
        self._has_shared_token = False
        self._token = array("i", bytes(4 * n_tokens_max))
        self._pos = array("i", bytes(4 * n_tokens_max))
        self._n_seq_id = array("i", [1]) * n_tokens_max
        self._seq_id = array("i", bytes(4 * n_tokens_max * n_seq_max))
        self._output = bytearray(n_tokens_max)
        begin, row = self._seq_id.buffer_info()[0], 4 * n_seq_max
        self._seq_rows = array("Q", range(begin, begin + n_tokens_max * row, row))
        # Slices of an array are copies, those of a memoryview are not.
        self._set_token = memoryview(self._token)
        self._set_pos = memoryview(self._pos)
        self._set_seq_id = memoryview(self._seq_id)
        self._c_batch = self._make_c_batch()

    def add(
        self, token: int, pos: int, seq_id: int | Sequence[int], *, output: bool = False
    ) -> int:
        """Append a token and return its index, by which Context.logits finds its output.

        Raises InvalidParameterError when the batch is full or a sequence id is not in 0..255;
        Context.decode checks what depends on the context.
        """
        index = self._n
        if index >= self.n_tokens_max:
            raise self._full(1)
        if isinstance(seq_id, int):
            self._check_seq_id(seq_id)
            self._seq_id[index * self.n_seq_max] = seq_id
            self._n_seq_id[index] = 1
        else:
            self._add_sequences(index, seq_id)
        try:
            self._token[index] = token
            self._pos[index] = pos
        except OverflowError:
            raise _too_large() from None
        self._note(token, token, pos, pos)
        self._output[index] = 1 if output else 0
        self._n = index + 1
        return index

    def extend(
        self, tokens: Sequence[int], pos: int, seq_id: int, *, output_last: bool = False
    ) -> int:
        """Append consecutive tokens of one sequence from position `pos`; return the first's index.

        With `output_last` the last of them gets an output. Raises like add().
        """
        first, n = self._n, len(tokens)
        if first + n > self.n_tokens_max:
            raise self._full(n)
        self._check_seq_id(seq_id)
        check_int("pos", pos, 0, INT32_MAX - n)
        end = first + n
        try:
            self._set_token[first:end] = array("i", tokens)
        except OverflowError:
            raise _too_large() from None
        self._set_pos[first:end] = array("i", range(pos, pos + n))
        self._set_sequences(first, array("i", [seq_id]) * n)
        self._output[first:end] = bytes(n)
        if n:
            self._note(min(tokens), max(tokens), pos, pos + n - 1)
            self._output[end - 1] = 1 if output_last else 0
        self._n = end
        return first

    def add_each(
        self, tokens: Sequence[int], positions: Sequence[int], seq_ids: Sequence[int]
    ) -> None:
        """Append one token of each of several sequences, each with an output.

        Three lists of equal length, at least one long. Raises like add().
        """
        first, n = self._n, len(tokens)
        end = first + n
        if end > self.n_tokens_max:
            raise self._full(n)
        if not n == len(positions) == len(seq_ids):
            raise InvalidParameterError(
                "tokens", f"{n} tokens, {len(positions)} positions and {len(seq_ids)} sequences"
            )
        self._check_seq_id(min(seq_ids))
        self._check_seq_id(max(seq_ids))
        try:
            self._set_token[first:end] = array("i", tokens)
            self._set_pos[first:end] = array("i", positions)
        except OverflowError:
            raise _too_large() from None
        self._set_sequences(first, array("i", seq_ids))
        self._output[first:end] = b"\1" * n
        self._note(min(tokens), max(tokens), min(positions), max(positions))
        self._n = end

    def output_all(self, first: int = 0) -> None:
        """Give an output to each token from index `first` on."""
        check_int("first", first, 0, self._n)
        self._output[first : self._n] = b"\1" * (self._n - first)

    def clear(self) -> None:
        """Forget all tokens."""
        self._n = 0
        self._ranges = _EMPTY
        self._max_seq_id = -1
        self._has_shared_token = False

    def __len__(self) -> int:
        return self._n

    @property
    def tokens(self) -> NDArray[np.int32]:
        """The token ids, shape (len,); a view."""
        import numpy as np

        self._ranges = None  # the caller may change them through the view
        return np.frombuffer(self._token, np.int32)[: self._n]

    @property
    def positions(self) -> NDArray[np.int32]:
        """The positions, shape (len,); a view."""
        import numpy as np

        self._ranges = None
        return np.frombuffer(self._pos, np.int32)[: self._n]

    @property
    def outputs(self) -> NDArray[np.int8]:
        """1 for each token that gets an output, else 0, shape (len,); a view."""
        import numpy as np

        return np.frombuffer(self._output, np.int8)[: self._n]

    @property
    def output_flags(self) -> bytes:
        """A copy of `outputs`."""
        return bytes(self._output[: self._n])

    @property
    def token_range(self) -> tuple[int, int]:
        """The smallest and the largest token id; the batch must not be empty."""
        return self._range()[:2]

    @property
    def position_range(self) -> tuple[int, int]:
        """The first and the last position; the batch must not be empty."""
        return self._range()[2:]

    @property
    def max_seq_id(self) -> int:
        """The largest sequence id in the batch, -1 when it is empty."""
        return self._max_seq_id

    @property
    def has_shared_token(self) -> bool:
        """Whether a token belongs to more than one sequence."""
        return self._has_shared_token

    @property
    def c_batch(self) -> types.llama_batch:
        """The C struct over the arrays; valid until the batch is closed."""
        if self._is_closed:
            raise HandleClosedError("the Batch is closed")
        self._c_batch.n_tokens = self._n
        return self._c_batch

    @property
    def is_closed(self) -> bool:
        """Whether close() was called."""
        return self._is_closed

    def close(self) -> None:
        """Refuse further use; a second call does nothing."""
        self._is_closed = True
        self.n_tokens_max = 0
        self.clear()

    def __enter__(self) -> Self:
        _ = self.c_batch
        return super().__enter__()

    def _range(self) -> tuple[int, int, int, int]:
        # Updated by add() and extend(): searching the arrays would dominate the cost of a small
        # step. Unknown after a view was handed out.
        if self._ranges is None:
            tokens, positions = self._token[: self._n], self._pos[: self._n]
            return min(tokens), max(tokens), min(positions), max(positions)
        return self._ranges

    def _note(self, lowest: int, highest: int, first: int, last: int) -> None:
        known = self._ranges
        if known is not None:
            self._ranges = (
                lowest if lowest < known[0] else known[0],
                highest if highest > known[1] else known[1],
                first if first < known[2] else known[2],
                last if last > known[3] else known[3],
            )

    def _add_sequences(self, index: int, seq_ids: Sequence[int]) -> None:
        unique = sorted(set(seq_ids))
        if not 1 <= len(unique) <= self.n_seq_max:
            raise InvalidParameterError(
                "seq_id",
                f"a token may belong to 1 to {self.n_seq_max} sequences, but got {len(unique)}",
            )
        for slot, seq_id in enumerate(unique):
            self._check_seq_id(seq_id)
            self._seq_id[index * self.n_seq_max + slot] = seq_id
        self._n_seq_id[index] = len(unique)
        self._has_shared_token |= len(unique) > 1

    def _set_sequences(self, first: int, seq_ids: array[int]) -> None:
        """Let each token from index `first` on belong to one sequence."""
        step = self.n_seq_max
        end = first + len(seq_ids)
        self._set_seq_id[first * step : end * step : step] = seq_ids
        if step > 1:
            memoryview(self._n_seq_id)[first:end] = array("i", [1]) * len(seq_ids)

    def _check_seq_id(self, seq_id: int) -> None:
        if not 0 <= seq_id < MAX_SEQUENCES:
            raise InvalidParameterError(
                "seq_id", f"sequence {seq_id} is not in 0..{MAX_SEQUENCES - 1}"
            )
        if seq_id > self._max_seq_id:
            self._max_seq_id = seq_id

    def _full(self, n_more: int) -> Exception:
        if self._is_closed:
            return HandleClosedError("the Batch is closed")
        return InvalidParameterError(
            "batch", f"{n_more} more tokens do not fit: {self._n} of {self.n_tokens_max} are used"
        )

    def _make_c_batch(self) -> types.llama_batch:
        int32_ptr = ctypes.POINTER(ctypes.c_int32)
        batch = types.llama_batch()
        batch.token = ctypes.cast(self._token.buffer_info()[0], int32_ptr)
        batch.pos = ctypes.cast(self._pos.buffer_info()[0], int32_ptr)
        batch.n_seq_id = ctypes.cast(self._n_seq_id.buffer_info()[0], int32_ptr)
        batch.seq_id = ctypes.cast(self._seq_rows.buffer_info()[0], ctypes.POINTER(int32_ptr))
        # As long as this object lives, the bytearray can be neither moved nor resized.
        self._c_output = (ctypes.c_int8 * self.n_tokens_max).from_buffer(self._output)
        batch.logits = ctypes.cast(self._c_output, ctypes.POINTER(ctypes.c_int8))
        return batch


def _too_large() -> InvalidParameterError:
    return InvalidParameterError("tokens", "a token id or a position does not fit 32 bits")
