"""The effective sizes of an engine, and a snapshot of what it does."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from llamabind.engine.step_meter import StepRates
from llamabind.kv_cache.host_cache import StateSize
from llamabind.scheduling.step_budget import LONGEST_GAP
from llamabind.speculation.planner import SpeculationStats


@dataclass(frozen=True, slots=True)
class EngineShape:
    """The effective sizes of an engine.

    `n_ctx` is the most tokens one request may use, `n_cells` the pool all share, `n_slots` the
    sequence ids (running and retained), `n_parallel` how many run at once. Unless `kv_unified` each
    sequence id has `n_ctx` cells of its own. With `max_waiting` requests waiting no more are taken.
    With `debug` the books of slots and cells are checked whenever nothing runs.

    `attention_tile` is for devices that compute the attention of so many tokens or more in tiles
    (ggml's CPU flash attention): a tile walks all cells that any of its tokens sees, so streams
    would walk each other's. Prompts then have steps of whole tiles. None where they do not.
    `n_ubatch` tokens are a graph: prompts beside which no stream waits come in steps of so many.
    `max_gap` is how many seconds a stream's next token may wait for others' prompts.

    `is_cuttable` is false for models whose memory cannot be cut at any position; there
    `is_checkpoint_partial` says that a checkpoint is only what cannot be cut. States saved in host
    memory take up to `cache_ram_bytes`, each about its `state_size`.
    """

    n_ctx: int
    n_cells: int
    n_batch: int
    n_slots: int
    n_parallel: int
    n_vocab: int
    kv_unified: bool = True
    is_cuttable: bool = True
    is_checkpoint_partial: bool = False
    cache_ram_bytes: int = 0
    state_size: StateSize = field(default_factory=StateSize)
    max_waiting: int | None = None
    attention_tile: int | None = None
    n_ubatch: int | None = None
    max_gap: float = LONGEST_GAP
    debug: bool = False


class EngineStats(msgspec.Struct, frozen=True):
    """A snapshot after a step; read from any thread without asking the engine.

    `sequence_steps` is the sum over all steps of the sequences computed in them, `rates` are those
    of the latest; `speculation` counts drafts since the load, all 0 without speculative decoding.
    """

    running: int = 0
    waiting: int = 0
    cells_used: int = 0
    cells_total: int = 0
    cache_ram_bytes: int = 0
    steps: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    cached_tokens: int = 0
    sequence_steps: int = 0
    longest_sequence: int = 0
    last_step_seconds: float = 0.0
    rates: StepRates = msgspec.field(default_factory=StepRates)
    speculation: SpeculationStats = msgspec.field(default_factory=SpeculationStats)
