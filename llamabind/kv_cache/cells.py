"""KvCells: counts the used cells of a unified KV cache, shared cells once."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

CellIds: TypeAlias = NDArray[np.int32]


class KvCells:
    """A mirror of llama.cpp's unified KV cache: how many sequences hold each cell.

    llama.cpp frees a cell when no sequence holds it any more (llama-kv-cells.h) but has no public
    count of free cells, so we count: `share` mirrors `llama_memory_seq_cp`, `drop` mirrors
    `llama_memory_seq_rm`. The ids are our own; only their number has to agree with llama.cpp's.
    """

    def __init__(self, n_cells: int) -> None:
        self.n_cells = n_cells
        self._references = np.zeros(n_cells, dtype=np.int32)
        # Item assignment through a memoryview is twice as fast as through numpy.
        self._set_references = self._references.data
        self._free = list(range(n_cells - 1, -1, -1))

    @property
    def n_free(self) -> int:
        """The number of cells that no sequence holds."""
        return len(self._free)

    def take(self, n: int) -> list[int]:
        """Return `n` free cells, each now held by one sequence; at least `n` must be free."""
        assert n <= len(self._free), "the scheduler planned more cells than there are"
        if n == 0:
            return []
        if n == 1:
            return [self.take_one()]
        taken = self._free[-n:]
        del self._free[-n:]
        self._references[taken] = 1
        return taken

    def take_one(self) -> int:
        """Return a free cell, now held by one sequence: the cell of a decoded token."""
        cell = self._free.pop()
        self._set_references[cell] = 1
        return cell

    def share(self, cells: CellIds) -> None:
        """Count one more sequence that holds `cells`."""
        self._references[cells] += 1

    def drop(self, cells: CellIds) -> None:
        """Count one sequence less for `cells`; those that no sequence holds become free."""
        self._references[cells] -= 1
        self._free.extend(cells[self._references[cells] == 0].tolist())

    def count_distinct(self, holdings: list[CellIds]) -> int:
        """Return the number of different cells in all `holdings`, one array for each sequence."""
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
