"""Counts the cells of a unified KV cache, shared ones once."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

CellIds: TypeAlias = NDArray[np.int32]


class KvCells:
    """A mirror of llama.cpp's unified KV cache: which cells are taken, and by how many sequences.

    llama.cpp frees a cell when the last sequence leaves it (llama-kv-cells.h) and has no public
    count, so we keep our own: `llama_memory_seq_cp` is `share`, `llama_memory_seq_rm` is `drop`.
    The ids are ours; only their number has to agree with llama.cpp's.
    """

    def __init__(self, n_cells: int) -> None:
        self.n_cells = n_cells
        self._references = np.zeros(n_cells, dtype=np.int32)
        self._free = list(range(n_cells - 1, -1, -1))

    @property
    def n_free(self) -> int:
        """Cells that no sequence holds."""
        return len(self._free)

    def take(self, n: int) -> list[int]:
        """Return `n` free cells, now held once each; there must be enough."""
        assert n <= len(self._free), "the scheduler planned more cells than there are"
        if n == 0:
            return []
        taken = self._free[-n:]
        del self._free[-n:]
        # By a list numpy would make an array of it: dear for the one cell of a token.
        self._references[taken if n > 1 else taken[0]] = 1
        return taken

    def share(self, cells: CellIds) -> None:
        """Let one more sequence hold `cells`."""
        self._references[cells] += 1

    def drop(self, cells: CellIds) -> None:
        """Let one sequence leave `cells`; those that nobody holds are free again."""
        self._references[cells] -= 1
        self._free.extend(cells[self._references[cells] == 0].tolist())

    def count_distinct(self, holdings: list[CellIds]) -> int:
        """Return how many different cells all the `holdings` have together."""
        held = np.zeros(self.n_cells, dtype=np.bool_)
        for cells in holdings:
            held[cells] = True
        return int(held.sum())

    def check(self, holdings: list[CellIds]) -> None:
        """Assert that the counts are exactly those of `holdings` (debug mode, tests)."""
        expected = np.zeros(self.n_cells, dtype=np.int32)
        for cells in holdings:
            expected[cells] += 1
        assert np.array_equal(expected, self._references), "a cell's holders are miscounted"
        assert sorted(self._free) == np.flatnonzero(expected == 0).tolist(), (
            "a cell is lost or free twice"
        )
