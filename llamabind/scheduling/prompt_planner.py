"""PromptPlanner: which prompt tokens a step computes, and at which positions it saves the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamabind.kv_cache.checkpoint_pool import CheckpointPool
from llamabind.scheduling.step_budget import share_budget, whole_tiles

if TYPE_CHECKING:
    from llamabind.kv_cache.slot_pool import SlotPool
    from llamabind.scheduling.checkpoint_planner import CheckpointPlanner
    from llamabind.scheduling.sequence import Sequence
    from llamabind.scheduling.step_budget import StepBudget
    from llamabind.scheduling.step_plan import StepPlan
    from llamabind.scheduling.waiting_queue import WaitingQueue

MAX_LOGPROB_CHUNK = 64
"""Maximum prompt tokens per step with prompt_logprobs: each needs a row of logits, up to 600 kB."""


class PromptPlanner:
    """Divides a step's budget among the prompts, in whole tiles if the budget has a `tile`."""

    def __init__(
        self,
        slots: SlotPool,
        budget: StepBudget,
        checkpoints: CheckpointPlanner,
        waiting: WaitingQueue,
        *,
        n_batch: int,
        kv_unified: bool,
    ) -> None:
        self._slots = slots
        self._budget = budget
        self._checkpoints = checkpoints
        self._waiting = waiting
        self._n_batch = n_batch
        # The most tokens of a step that has both decoding sequences and prompts.
        self._n_mixed = n_batch
        if budget.tile is not None and not budget.mixes_tiles:
            # With a split cache llama.cpp would compute the two in separate graphs anyway.
            self._n_mixed = min(n_batch, budget.tile - 1) if kv_unified else 0
        self._kv_unified = kv_unified
        self._prefers_shortest = False

    def plan(self, plan: StepPlan, prompts: list[Sequence], n_decoding: int) -> bool:
        """Add chunks of `prompts`, the oldest first, to a step.

        `n_decoding` sequences are decoding, in this step or not. False if the prompts need a step
        without decoding sequences; then nothing was added.
        """
        budget = self._budget.n_prompt_tokens(n_decoding, len(prompts), prompts[0].n_computed)
        n_remaining = sum(prompt.n_remaining for prompt in prompts)
        n_wanted = min(budget, n_remaining)
        if plan.chunks and len(plan.chunks) + n_wanted > self._n_mixed:
            return n_wanted <= 0
        tile = self._budget.tile
        if tile is not None and n_wanted < tile:
            tile = None
        if tile is not None and self._kv_unified:
            budget, tile = whole_tiles(budget, n_remaining, tile), None
        elif tile is not None and budget < 2 * tile:
            # One tile cannot be divided: give it alternately to the oldest and the shortest prompt.
            self._prefers_shortest = not self._prefers_shortest
            if self._prefers_shortest:
                prompts = sorted(prompts, key=lambda prompt: prompt.n_remaining)
        for sequence, n_most in share_budget(budget, prompts, tile):
            n = min(n_most, budget)
            if tile is not None:
                # With a split cache each sequence has tiles of its own.
                n = whole_tiles(n, sequence.n_remaining, tile)
            budget -= self._plan_chunk(plan, sequence, n)
        return True

    def _plan_chunk(self, plan: StepPlan, sequence: Sequence, n: int) -> int:
        """Plan a chunk of up to `n` prompt tokens and return its length."""
        assert sequence.slot is not None, "a prompt without a slot"
        n = min(n, sequence.n_remaining, self._n_batch - plan.n_tokens)
        if sequence.wants_prompt_logprobs:
            n = min(n, MAX_LOGPROB_CHUNK)
        position = self._next_checkpoint(sequence)
        if position is not None:
            n = min(n, position - sequence.n_computed)
        medium = sequence.next_medium() if sequence.request.media else None
        if medium is not None and n > 0:
            n = medium.limit(sequence.n_computed, n)
        if n <= 0 or not self._slots.reserve(sequence.slot, n):
            return 0
        plan.add(sequence, n, medium)
        if position == sequence.n_computed + n:
            self._plan_checkpoint(plan, sequence, position)
        return n

    def _next_checkpoint(self, sequence: Sequence) -> int | None:
        if self._slots.is_cuttable or self._slots.host.limit == 0:
            return None
        alike = [other for other in self._waiting if other.adapters == sequence.adapters]
        return self._checkpoints.next_position(sequence, alike)

    def _plan_checkpoint(self, plan: StepPlan, sequence: Sequence, position: int) -> None:
        assert isinstance(self._slots, CheckpointPool), (
            "only memory that cannot be cut has checkpoints"
        )
        assert sequence.slot is not None, "a chunk without a slot"
        self._checkpoints.reached(sequence, position)
        save = self._slots.checkpoint(sequence.slot, sequence.tokens[:position])
        if save is not None:
            plan.checkpoints.append(save)
