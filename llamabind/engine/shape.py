"""EngineShape: the effective sizes of an engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from llamabind.kv_cache.host_cache import StateSize
from llamabind.scheduling.step_budget import LONGEST_GAP


@dataclass(frozen=True, slots=True)
class EngineShape:
    """The effective sizes of an engine.

    `n_ctx` is the most tokens of one request, `n_cells` the number of KV cells of all requests,
    `n_slots` the number of sequence ids (running and retained), `n_parallel` the most requests that
    run at once. With `kv_unified` False each sequence id has `n_ctx` cells of its own. While
    `max_waiting` requests wait, more are refused. With `debug` the accounting of slots and cells is
    checked whenever the engine is idle.

    `attention_tile` is a number of tokens: attention for a batch of at least that many is computed
    in tiles of that size (ggml's CPU flash attention); None if there are no tiles. A tile reads all
    cells that any of its tokens attends to, so the decoding sequences of one tile would read each
    other's cells. Prompts then get steps of their own, in whole tiles, and a step has fewer
    decoding sequences than a tile has tokens. Neither applies with `has_own_tiles`: our kernel
    (csrc/attention.cpp) reads a sequence's own cells only. `n_ubatch` is the size of a
    graph: while nothing decodes, prompt steps are multiples of it. `max_gap` is how many seconds a
    step with prompt tokens may delay the next token of the decoding sequences.

    `window` is the size of a sliding window whose layers have a cache of full size, 0 without one:
    SlotPool then checks that a prefix still has the cells of its window.

    With `context_shift` an answer goes on when its context is full (Sequence.shift).

    `is_cuttable` is False for models whose memory cannot be cut at any position; then
    `is_checkpoint_partial` says that a checkpoint holds only the part that cannot be cut, and
    `n_rollback` how many of a sequence's newest tokens can be removed all the same. States saved in
    host memory take up to `cache_ram_bytes` together; `state_size` estimates each.
    """

    n_ctx: int
    n_cells: int
    n_batch: int
    n_slots: int
    n_parallel: int
    n_vocab: int
    kv_unified: bool = True
    is_cuttable: bool = True
    n_rollback: int = 0
    is_checkpoint_partial: bool = False
    window: int = 0
    cache_ram_bytes: int = 0
    state_size: StateSize = field(default_factory=StateSize)
    max_waiting: int | None = None
    attention_tile: int | None = None
    has_own_tiles: bool = False
    n_ubatch: int | None = None
    max_gap: float = LONGEST_GAP
    context_shift: bool = False
    debug: bool = False

    def can_remove(self, n: int) -> bool:
        """True if the newest `n` tokens of a sequence, rejected draft tokens, can be removed."""
        return self.is_cuttable or n <= self.n_rollback
