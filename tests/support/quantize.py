"""Weights in ggml's types, by ggml's own functions."""

import ctypes
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llamabind._capi.loader import open_library


@dataclass(frozen=True)
class WeightType:
    """A type of weights: its ggml_type, and how many weights it stores in how many bytes."""

    name: str
    ggml_type: int
    block: int
    n_bytes: int

    def quantize(self, matrix: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The rows of a matrix in this type, one after another."""
        matrix = np.ascontiguousarray(matrix, np.float32)
        n_rows, n = matrix.shape
        stored = np.empty((n_rows, n // self.block * self.n_bytes), np.uint8)
        written = _ggml().ggml_quantize_chunk(
            self.ggml_type,
            matrix.ctypes.data_as(ctypes.c_void_p),
            stored.ctypes.data_as(ctypes.c_void_p),
            0,
            n_rows,
            n,
            None,
        )
        assert written == stored.nbytes
        return stored

    def read(self, stored: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The weights as ggml reads them."""
        n_rows, n_bytes = stored.shape
        matrix = np.empty((n_rows, n_bytes // self.n_bytes * self.block), np.float32)
        read = getattr(_ggml(), f"dequantize_row_{self.name}")
        read(
            stored.ctypes.data_as(ctypes.c_void_p),
            matrix.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int64(matrix.size),
        )
        return matrix


def _ggml() -> ctypes.CDLL:
    library = open_library("ggml-base")
    assert library is not None
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        *[ctypes.c_int64] * 3,
        ctypes.c_void_p,
    ]
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    return library


TYPES = {
    one.name: one
    for one in (
        WeightType("q8_0", 8, 32, 34),
        WeightType("q4_0", 2, 32, 18),
        WeightType("q4_1", 3, 32, 20),
        WeightType("q5_0", 6, 32, 22),
        WeightType("q5_1", 7, 32, 24),
        WeightType("q4_K", 12, 256, 144),
        WeightType("q5_K", 13, 256, 176),
        WeightType("q6_K", 14, 256, 210),
    )
}
