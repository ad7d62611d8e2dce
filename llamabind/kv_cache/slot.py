"""Slot: one sequence id and the tokens it holds; Prefix: what of them a request can reuse."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from llamabind.kv_cache.cells import CellIds
    from llamabind.kv_cache.host_cache import StoredState


class Slot:
    """One llama.cpp sequence id: the tokens its KV cells hold, and whether a sequence uses it.

    `owner` is that sequence; the pool only compares it with None. A slot without an owner but with
    tokens is *retained*: its tokens are a prefix for later requests. While a step is under way
    `cells` is longer than `tokens`; `SlotPool.commit` closes the gap.
    """

    __slots__ = ("cells", "last_used", "owner", "seq_id", "tokens")

    def __init__(self, seq_id: int) -> None:
        self.seq_id = seq_id
        self.tokens: array[int] = array("i")
        self.cells: array[int] = array("i")
        self.owner: object | None = None
        self.last_used = 0

    @property
    def cell_ids(self) -> CellIds:
        """The cells as a numpy array of its own (a view would forbid the array to grow)."""
        return np.array(self.cells, dtype=np.int32)

    @property
    def is_retained(self) -> bool:
        """True if only its prefix is of use."""
        return self.owner is None and len(self.cells) > 0


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first `n` tokens of a request, and how to get them without computing.

    They are in the cells of `slot`, or in `full`, a whole sequence in host memory that is restored
    and then cut. Where the memory cannot be cut at `n`, `partial` brings what cannot be cut as it
    was there. `n` 0 is: compute everything.
    """

    n: int = 0
    slot: Slot | None = None
    full: StoredState | None = None
    partial: StoredState | None = None
