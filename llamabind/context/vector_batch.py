"""VectorBatch: the vectors of one decode, in place of tokens."""

import ctypes

import numpy as np
from numpy.typing import NDArray

from llamabind._capi import types
from llamabind.checks import INT32_MAX, check_int
from llamabind.errors import InvalidParameterError


class VectorBatch:
    """Vectors of one sequence for Context.decode_vectors, at consecutive positions from `pos` on,
    or with M-RoPE at the positions `pos` of shape (4, n_tokens).

    `embeddings` have the shape (n_tokens, n_embd_inp) and are copied only if they are not float32
    and contiguous. They get outputs only with `has_outputs`.
    """

    def __init__(
        self,
        embeddings: NDArray[np.float32],
        pos: int | NDArray[np.int32],
        seq_id: int,
        *,
        has_outputs: bool = False,
    ) -> None:
        if embeddings.ndim != 2 or not embeddings.size:
            raise InvalidParameterError(
                "embeddings", f"expected shape (n_tokens, n_embd), but got {embeddings.shape}"
            )
        n = len(embeddings)
        check_int("seq_id", seq_id, 0, INT32_MAX)
        self.embeddings = np.ascontiguousarray(embeddings, np.float32)
        self.seq_id = seq_id
        # llama_batch only has pointers, so this object keeps the arrays alive.
        self.positions = _positions(pos, n)
        self._n_seq_id = np.ones(n, np.int32)
        self._seq_id = np.full(1, seq_id, np.int32)
        self._seq_rows = np.full(n, self._seq_id.ctypes.data, np.uintp)
        self._output = np.full(n, has_outputs, np.int8)

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def c_batch(self) -> types.llama_batch:
        """The C struct over the arrays; valid as long as this object lives."""
        int32_ptr = ctypes.POINTER(ctypes.c_int32)
        batch = types.llama_batch()
        batch.n_tokens = len(self)
        batch.embd = self.embeddings.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        batch.pos = self.positions.ctypes.data_as(int32_ptr)
        batch.n_seq_id = self._n_seq_id.ctypes.data_as(int32_ptr)
        batch.seq_id = self._seq_rows.ctypes.data_as(ctypes.POINTER(int32_ptr))
        batch.logits = self._output.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))
        return batch


def _positions(pos: int | NDArray[np.int32], n: int) -> NDArray[np.int32]:
    """Return the positions as an array of shape (n_dimensions, n), n_dimensions 1 or 4."""
    if isinstance(pos, int):
        check_int("pos", pos, 0, INT32_MAX - n)
        return np.arange(pos, pos + n, dtype=np.int32)[np.newaxis]
    if pos.dtype != np.int32 or pos.shape != (4, n) or int(pos.min()) < 0:
        raise InvalidParameterError(
            "pos",
            f"expected non-negative int32 positions of shape (4, {n}), "
            f"but got {pos.dtype} of shape {pos.shape}",
        )
    return np.ascontiguousarray(pos)
