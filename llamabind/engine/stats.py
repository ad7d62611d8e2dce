"""EngineStats: the figures of an engine, with moving averages over its latest steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from llamabind.speculation.planner import SpeculationStats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llamabind.engine.prefix_reads import PrefixReads
    from llamabind.kv_cache.slot_pool import SlotPool
    from llamabind.request import RequestOutput
    from llamabind.scheduling.scheduler import Scheduler
    from llamabind.scheduling.step_plan import StepPlan
    from llamabind.speculation.planner import SpeculationPlanner

WINDOW_SECONDS = 10.0
"""Seconds of computing after which a step's weight in the averages has fallen to a third (1/e)."""


class StepRates(msgspec.Struct, frozen=True):
    """Averages over the latest steps; all 0 before the first.

    Tokens per second are the sum over all requests, counted only while the engine computes: an idle
    time does not change them, so a snapshot stays right while the engine is idle.
    """

    step_seconds: float = 0.0
    prompt_tokens_per_second: float = 0.0
    generated_tokens_per_second: float = 0.0


class EngineStats(msgspec.Struct, frozen=True):
    """A snapshot after a step; any thread may read it.

    `paused` requests are neither running nor waiting. `cells_running` are the KV cells of sequences
    that run, without retained prefixes. `sequence_steps` adds up the number of
    sequences computed in each step. `rates` are averages over the latest steps. `speculation`
    counts drafts since the load; all 0 without speculative decoding.
    """

    running: int = 0
    waiting: int = 0
    paused: int = 0
    cells_used: int = 0
    cells_running: int = 0
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


class StepMeter:
    """Counts steps, tokens and seconds with exponentially decaying weights."""

    def __init__(self, window: float = WINDOW_SECONDS) -> None:
        self._window = window
        self._seconds = self._steps = self._prompt = self._generated = 0.0
        self._rates = StepRates()

    def add(self, seconds: float, n_prompt: int, n_generated: int) -> StepRates:
        """Add a step and return the new averages; a step without any tokens is not counted.

        `n_prompt` prompt tokens were computed and `n_generated` tokens sampled in `seconds`.
        """
        if n_prompt == n_generated == 0:
            return self._rates
        kept = math.exp(-seconds / self._window)
        self._seconds = self._seconds * kept + seconds
        self._steps = self._steps * kept + 1
        self._prompt = self._prompt * kept + n_prompt
        self._generated = self._generated * kept + n_generated
        if self._seconds > 0:
            self._rates = StepRates(
                self._seconds / self._steps,
                self._prompt / self._seconds,
                self._generated / self._seconds,
            )
        return self._rates


class StatsKeeper:
    """Keeps the figures of an engine. Its thread updates them; any thread may read `latest`."""

    def __init__(
        self,
        slots: SlotPool,
        scheduler: Scheduler,
        prefix_reads: PrefixReads,
        speculation: SpeculationPlanner | None,
    ) -> None:
        self._slots = slots
        self._scheduler = scheduler
        self._prefix_reads = prefix_reads
        self._speculation = speculation
        self._meter = StepMeter()
        self.latest = EngineStats(cells_total=slots.cells.n_cells)

    def count(self) -> None:
        """Update the figures that change without a step."""
        scheduler, cells = self._scheduler, self._slots.cells
        self.latest = replace(
            self.latest,
            running=len(scheduler.running),
            waiting=len(scheduler.waiting) + len(self._prefix_reads),
            paused=len(scheduler.paused),
            cells_used=cells.n_cells - cells.n_free,
            cells_running=self._slots.n_running_cells,
        )

    def add_step(self, plan: StepPlan, outputs: Sequence[RequestOutput], seconds: float) -> None:
        """Update all figures after a step of `seconds` with these outputs."""
        old, scheduler, cells = self.latest, self._scheduler, self._slots.cells
        n_cached = sum([output.usage.cached_tokens for output in outputs if output.finish_reason])
        n_generated = sum([len(output.token_ids) for output in outputs])
        n_prompt = plan.n_prompt
        self.latest = EngineStats(
            running=len(scheduler.running),
            waiting=len(scheduler.waiting) + len(self._prefix_reads),
            paused=len(scheduler.paused),
            cells_used=cells.n_cells - cells.n_free,
            cells_running=self._slots.n_running_cells,
            cells_total=cells.n_cells,
            cache_ram_bytes=self._slots.host.n_bytes,
            steps=old.steps + 1,
            prompt_tokens=old.prompt_tokens + n_prompt,
            generated_tokens=old.generated_tokens + n_generated,
            cached_tokens=old.cached_tokens + n_cached,
            sequence_steps=old.sequence_steps + len(plan.chunks),
            longest_sequence=max([old.longest_sequence, *[chunk.end for chunk in plan.chunks]]),
            last_step_seconds=seconds,
            rates=self._meter.add(seconds, n_prompt, n_generated),
            speculation=self._speculation.stats if self._speculation else old.speculation,
        )
