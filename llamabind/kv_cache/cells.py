"""KvCells: counts the used cells of a unified KV cache, shared cells once."""

from __future__ import annotations

from array import array
from functools import cached_property
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FEW_CELLS: Final = 64
"""Fewer cells are counted one by one, which is as fast as NumPy."""


class KvCells:
    """A mirror of llama.cpp's unified KV cache: how many sequences hold each cell.

    llama.cpp frees a cell when no sequence holds it any more (llama-kv-cells.h) but has no public
    count of free cells, so we count: `share` mirrors `llama_memory_seq_cp`, `drop` mirrors
    `llama_memory_seq_rm`. The ids are our own; only their number has to agree with llama.cpp's.
    """

    def __init__(self, n_cells: int) -> None:
        self.n_cells = n_cells
        self._holders = array("i", bytes(4 * n_cells))
        self._free = list(range(n_cells - 1, -1, -1))

    @cached_property
    def _references(self) -> NDArray[np.int32]:
        """The counts of `_holders` as numpy sees them, in the same memory."""
        import numpy as np

        return np.frombuffer(self._holders, np.int32)

    @property
    def n_free(self) -> int:
        """The number of cells that no sequence holds."""
        return len(self._free)

    def take(self, n: int) -> list[int]:
        """Return `n` free cells, each now held by one sequence; at least `n` must be free."""
        assert n <= len(self._free), "the scheduler planned more cells than there are"
        if n == 0:
            return []
        taken = self._free[-n:]
        del self._free[-n:]
        for cell in taken:
            self._holders[cell] = 1
        return taken

    def take_one(self) -> int:
        """Return a free cell, now held by one sequence: the cell of a decoded token."""
        cell = self._free.pop()
        self._holders[cell] = 1
        return cell

    def share(self, cells: array[int]) -> None:
        """Count one more sequence that holds `cells`."""
        import numpy as np

        self._references[np.frombuffer(cells, np.int32)] += 1

    def drop(self, cells: array[int]) -> None:
        """Count one sequence less for `cells`; those that no sequence holds become free."""
        if len(cells) < _FEW_CELLS:
            for cell in cells:
                self._holders[cell] -= 1
                if not self._holders[cell]:
                    self._free.append(cell)
            return
        import numpy as np

        ids = np.frombuffer(cells, np.int32)
        self._references[ids] -= 1
        self._free.extend(ids[self._references[ids] == 0].tolist())

    def count_distinct(self, holdings: list[array[int]]) -> int:
        """Return the number of different cells in all `holdings`, one array for each sequence."""
        if len(holdings) < 2:
            return sum(map(len, holdings))
        import numpy as np

        held = np.zeros(self.n_cells, dtype=np.bool_)
        for cells in filter(None, holdings):
            held[np.frombuffer(cells, np.int32)] = True
        return int(held.sum())

    def check(self, holdings: list[array[int]]) -> None:
        """Assert that the counts are exactly those of `holdings` (debug mode, tests)."""
        import numpy as np

        expected = np.zeros(self.n_cells, dtype=np.int32)
        for cells in filter(None, holdings):
            expected[np.frombuffer(cells, np.int32)] += 1
        assert np.array_equal(expected, self._references), "a cell's holders are miscounted"
        assert sorted(self._free) == np.flatnonzero(expected == 0).tolist(), (
            "a cell is lost or free twice"
        )
