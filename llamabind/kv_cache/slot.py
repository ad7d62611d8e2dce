"""Slot: a sequence id and the tokens it holds; Prefix: the tokens that a request can reuse."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeAlias

    from llamabind.kv_cache.host_cache import StoredState

    Adapters: TypeAlias = tuple[float, ...]
    """The scale of each LoRA adapter of the model; () if none is applied."""


class Slot:
    """A llama.cpp sequence id: the tokens in its KV cells, and the sequence that runs in it.

    `owner` is that sequence; the pool only compares it with None. A slot with tokens but without an
    owner is *retained*: its tokens are a prefix for later requests. During a step `cells` is longer
    than `tokens`; `SlotPool.commit` adds the computed tokens. `adapters` are the LoRA scales with
    which the tokens were computed: only sequences with the same ones can reuse them. The tokens of
    a slot with `is_private` are of a request that keeps its prompt out of caches: they must not be
    written to a file.
    """

    __slots__ = ("adapters", "cells", "is_private", "last_used", "owner", "seq_id", "tokens")

    def __init__(self, seq_id: int) -> None:
        self.seq_id = seq_id
        self.tokens: array[int] = array("i")
        self.cells: array[int] = array("i")
        self.owner: object | None = None
        self.adapters: Adapters = ()
        self.is_private = False
        self.last_used = 0

    @property
    def is_retained(self) -> bool:
        """True if the slot has tokens and no sequence runs in it."""
        return self.owner is None and len(self.cells) > 0


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first `n` tokens of a request, and where their KV comes from; `n` 0 means none.

    They are in the cells of `slot`, or in `full`, the state of a whole sequence in host memory,
    which is restored and then cut to `n` tokens. If the memory cannot be cut at `n`, `partial` is
    the saved state, at that position, of the part that cannot be cut.
    """

    n: int = 0
    slot: Slot | None = None
    full: StoredState | None = None
    partial: StoredState | None = None
