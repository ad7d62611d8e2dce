"""Decides what each step computes: who runs, whose prompt goes on, who must wait or be parked."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from msgspec.structs import replace

from llamabind.kv_cache.checkpoint_pool import CheckpointPool
from llamabind.kv_cache.slot import Prefix
from llamabind.scheduling.checkpoint_planner import CheckpointPlanner
from llamabind.scheduling.prefix_waits import PrefixWaits
from llamabind.scheduling.step_budget import share_budget, whole_tiles
from llamabind.scheduling.step_plan import ScheduledChunk, StepPlan
from llamabind.scheduling.waiting_queue import WaitingQueue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llamabind.kv_cache.slot_pool import SlotPool
    from llamabind.media.medium import Medium
    from llamabind.scheduling.sequence import Sequence
    from llamabind.scheduling.step_budget import StepBudget
    from llamabind.scheduling.step_plan import DraftPlanner, StepResult

MAX_LOGPROB_CHUNK = 64
"""Prompt tokens per step where each needs its logits: a row of a large vocabulary is 600 kB."""

LOOKAHEAD = 32
"""Tokens per running sequence that must have room beside a newcomer, so that it is not parked at
once.
"""


class Scheduler:
    """Plans steps over a pool of slots. Pure policy, used only on the engine thread.

    Each step takes one token of every running stream first, then prompt chunks within the step's
    budget: the oldest prompt has half of it for sure, shorter ones go before longer ones in the
    rest. A newcomer gets a seat when its prompt has room beside what the others will need soon;
    what runs out of cells all the same parks the youngest sequence, never fails it.

    With a `tile` in the budget, steps of so many tokens are for prompts alone, in turns with steps
    of fewer tokens for the streams (EngineShape); unless `kv_unified` all steps with prompts are.
    """

    def __init__(
        self,
        slots: SlotPool,
        budget: StepBudget,
        *,
        n_parallel: int,
        n_batch: int,
        kv_unified: bool = True,
        speculation: DraftPlanner | None = None,
    ) -> None:
        self.slots = slots
        self.budget = budget
        self.waiting = WaitingQueue()
        self.running: list[Sequence] = []
        self._n_parallel = n_parallel
        self._n_batch = n_batch
        self._tile = budget.tile
        self._kv_unified = kv_unified
        # The most tokens of a step with streams, and of one with streams and prompts.
        self._n_decoding = self._n_shared = n_batch
        if budget.tile is not None and kv_unified:
            self._n_decoding = self._n_shared = min(n_batch, budget.tile - 1)
        elif budget.tile is not None:
            # llama.cpp would make graphs of their own for them.
            self._n_shared = 0
        self._owes_prompts = False
        self._is_turn_of_shortest = False
        self._n_planned = 0
        # What a wrong guess leaves behind must be cut off.
        self._speculation = speculation if slots.is_cuttable else None
        self.holds_newcomers = False
        self._drafts_fit = True
        self._awaited = PrefixWaits(slots)
        self._checkpoints = CheckpointPlanner()

    @property
    def has_work(self) -> bool:
        """True while any sequence waits or runs."""
        return bool(self.running) or len(self.waiting) > 0

    @property
    def has_begun(self) -> bool:
        """True while any sequence runs or has run; only newcomers wait otherwise."""
        return bool(self.running) or self.waiting.has_preempted

    def add(self, sequence: Sequence) -> None:
        """Queue a new sequence."""
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take a finished or cancelled sequence out; the KV it computed stays for reuse."""
        self._awaited.forget(sequence)
        if sequence not in self.running:
            self.waiting.remove(sequence)
            return
        self.running.remove(sequence)
        self._checkpoints.forget(sequence)
        if sequence.slot is not None:
            self.slots.release(sequence.slot)
            sequence.slot = None

    def schedule(self) -> StepPlan:
        """Return the next step; it is empty only if nothing waits or runs."""
        plan = StepPlan()
        if self._owes_prompts:
            self._owes_prompts = False
            self._admit()
            self._plan_prompts(plan)
        if not plan.chunks:
            self._plan_decoding(plan)
            if self._admit():
                # Of who comes back only the newest token may be left.
                self._plan_decoding(plan)
            self._plan_prompts(plan)
        while not plan.chunks and self.running:
            # Several unfinished prompts share all cells and none can go on: the youngest gives way.
            self._preempt(self._youngest())
            self._plan_prompts(plan)
        if self._speculation is not None and self._drafts_fit:
            self._plan_drafts(plan, self._speculation)
        # In streams llama.cpp makes one graph only of sequence ids that follow each other
        # (llama_batch_allocr::split_equal), and each graph reads all weights.
        plan.chunks.sort(key=lambda chunk: chunk.slot.seq_id)
        plan.operations = self.slots.take_operations()
        return plan

    def commit(self, plan: StepPlan, result: StepResult) -> None:
        """Note that `plan` was computed, before its sequences take their new tokens."""
        self._drafts_fit = True
        runs = iter(result.sampled)
        for chunk in plan.chunks:
            n_accepted = next(runs).n_accepted if chunk.is_last else 0
            computed = chunk.sequence.tokens[chunk.start : chunk.end]
            computed.extend(array("i", chunk.draft[:n_accepted]))
            self.slots.commit(chunk.slot, computed)
            chunk.sequence.n_computed = chunk.end + n_accepted
            if chunk.draft and self._speculation is not None:
                chunk.sequence.n_drafted += len(chunk.draft)
                chunk.sequence.n_draft_accepted += n_accepted
                self._speculation.observe(chunk.sequence, len(chunk.draft), n_accepted)

    def confirm_saved(self, sizes: Mapping[int, int]) -> None:
        """Note the true sizes in bytes of the states that were saved, by their id; the others that
        were ordered are lost.
        """
        self.slots.host.confirm(sizes)

    def clear(self) -> None:
        """Forget every retained prefix, in host memory too; no sequence may be running."""
        self.slots.clear()

    def check(self) -> None:
        """Assert that no cell and no saved state is lost or miscounted (debug mode, tests)."""
        self.slots.check()

    def roll_back(self, plan: StepPlan) -> None:
        """Undo a plan whose batch found no room although we counted some: drop all cache, park the
        youngest, and guess nothing in the next.

        Media are computed before the batch and may be there already: who shares a step with others
        and had one computed, begins anew.
        """
        self._drafts_fit = False
        for chunk in plan.chunks:
            self.slots.unreserve(chunk.slot)
        media = [chunk for chunk in plan.chunks if chunk.medium is not None]
        if len(self.running) > 1:
            for chunk in media:
                self.slots.discard(chunk.slot)
                self._preempt(chunk.sequence)
        self.slots.evict_until(self.slots.cells.n_cells)
        if len(self.running) > 1 and not media:
            self._preempt(self._youngest())

    def _plan_decoding(self, plan: StepPlan) -> None:
        planned = {chunk.sequence for chunk in plan.chunks}
        streams = [
            running for running in self.running if running.is_decoding and running not in planned
        ]
        n_most = self._n_decoding - len(planned)
        if len(streams) > n_most:
            # Too many for one step: those whose last token is longest ago.
            streams = sorted(streams, key=lambda stream: stream.planned_at)[:n_most]
        for sequence in sorted(streams, key=lambda stream: stream.arrival):
            if sequence in self.running:
                self._reserve_or_preempt(sequence)
                self._plan_chunk(plan, sequence, 1)

    def _reserve_or_preempt(self, sequence: Sequence) -> None:
        """Find the next token's cell for a running stream: the youngest make room, at last the
        stream itself.
        """
        while sequence.slot is not None and not self.slots.reserve(sequence.slot, 1):
            self._preempt(self._youngest())

    def _plan_prompts(self, plan: StepPlan) -> None:
        prompts = [
            running
            for running in sorted(self.running, key=lambda running: running.arrival)
            if running.slot is not None and not running.is_decoding
        ]
        if not prompts:
            return
        n_decoding = sum(running.is_decoding for running in self.running)
        budget = self.budget.n_prompt_tokens(n_decoding, len(prompts))
        n_remaining = sum(prompt.n_remaining for prompt in prompts)
        n_wanted = min(budget, n_remaining)
        if plan.chunks and len(plan.chunks) + n_wanted > self._n_shared:
            self._owes_prompts = n_wanted > 0
            return
        tile = self._tile if self._tile is not None and n_wanted >= self._tile else None
        if tile is not None and self._kv_unified:
            budget, tile = whole_tiles(budget, n_remaining, tile), None
        elif tile is not None and budget < 2 * tile:
            # One tile cannot be shared: the oldest and the shortest take turns.
            self._is_turn_of_shortest = not self._is_turn_of_shortest
            if self._is_turn_of_shortest:
                prompts.sort(key=lambda prompt: prompt.n_remaining)
        for sequence, n_most in share_budget(budget, prompts, tile):
            n = min(n_most, budget)
            if tile is not None:
                # Each stream has tiles of its own.
                n = whole_tiles(n, sequence.n_remaining, tile)
            budget -= self._plan_prompt(plan, sequence, n)

    def _plan_prompt(self, plan: StepPlan, sequence: Sequence, n: int) -> int:
        """Plan up to `n` tokens of a prompt and return how many they are."""
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
        if n <= 0 or not self.slots.reserve(sequence.slot, n):
            return 0
        self._plan_chunk(plan, sequence, n, medium)
        if position == sequence.n_computed + n:
            self._plan_checkpoint(plan, sequence, position)
        return n

    def _next_checkpoint(self, sequence: Sequence) -> int | None:
        if self.slots.is_cuttable or self.slots.host.limit == 0:
            return None
        return self._checkpoints.next_position(sequence, self.waiting)

    def _plan_checkpoint(self, plan: StepPlan, sequence: Sequence, position: int) -> None:
        assert isinstance(self.slots, CheckpointPool), "only what cannot be cut has checkpoints"
        assert sequence.slot is not None, "a chunk without a slot"
        self._checkpoints.reached(sequence, position)
        save = self.slots.checkpoint(sequence.slot, sequence.tokens[:position])
        if save is not None:
            plan.checkpoints.append(save)

    def _plan_drafts(self, plan: StepPlan, speculation: DraftPlanner) -> None:
        """Let running streams compute guesses in what room is left; nobody is parked for that."""
        decoding = [
            chunk.sequence
            for chunk in plan.chunks
            # A drafter reads the prompt, and pseudo-tokens mean nothing to it.
            if chunk.sequence.is_decoding and not chunk.sequence.request.media
        ]
        if not decoding:
            return
        n_planned = plan.n_tokens
        # A medium has a batch of its own, and may be larger than what was left of the step.
        drafts = speculation.draft(decoding, n_planned, max(0, self._n_decoding - n_planned))
        for index, chunk in enumerate(plan.chunks):
            draft = drafts.get(chunk.sequence, ())
            if draft and not self.slots.reserve(chunk.slot, len(draft)):
                draft = draft[: self.slots.cells.n_free]
                self.slots.reserve(chunk.slot, len(draft))
            if draft:
                plan.chunks[index] = replace(chunk, draft=draft)

    def _plan_chunk(
        self, plan: StepPlan, sequence: Sequence, n: int, medium: Medium | None = None
    ) -> None:
        if sequence.slot is None:
            return
        self._n_planned += 1
        sequence.planned_at = self._n_planned
        start = sequence.n_computed
        if medium is not None and start < medium.start:
            medium = None
        chunk = ScheduledChunk(sequence, sequence.slot, start, start + n, medium=medium)
        plan.chunks.append(chunk)

    def _admit(self) -> bool:
        """Give seats to those who wait, in the order in which they are due; whether any got one."""
        n_before = len(self.running)
        if n_before < self._n_parallel and len(self.waiting) > 0:
            self._admit_those_due()
        return len(self.running) > n_before

    def _admit_those_due(self) -> None:
        for sequence in list(self.waiting):
            if self.holds_newcomers and not sequence.has_started:
                return
            if self._awaited.is_awaiting(sequence, self.running):
                continue
            # The first that finds no room ends the round: smaller ones behind it must not starve
            # it.
            if len(self.running) >= self._n_parallel or not self._try_start(sequence):
                return

    def _try_start(self, sequence: Sequence) -> bool:
        prefix = self._find_prefix(sequence)
        if prefix is None:
            return False
        # Where others' prompts went another way; asked before `open` moves what they hold.
        n_common = 0 if self.slots.is_cuttable else self.slots.longest_common(sequence.tokens)
        slot = self.slots.open(sequence, prefix, sequence.request.id_slot)
        if slot is None:
            return False
        self.waiting.take(sequence)
        self.running.append(sequence)
        sequence.start(slot, prefix.n)
        self._checkpoints.start(sequence, n_common)
        return True

    def _find_prefix(self, sequence: Sequence) -> Prefix | None:
        """Return the longest reusable prefix that has room, or None if there is no room at all."""
        n_tokens, n_soon = len(sequence.tokens), self._n_needed_soon(sequence)
        if not sequence.may_reuse:
            return Prefix() if self.slots.fits(Prefix(), n_tokens + n_soon) else None
        for restores in (True, False):
            prefix = self.slots.longest_prefix(sequence.tokens, restores=restores)
            if self.slots.fits(prefix, n_tokens - prefix.n + n_soon):
                return prefix
            if prefix.full is None:
                break
        return None

    def _n_needed_soon(self, newcomer: Sequence) -> int:
        """Return the cells that running sequences will want while the newcomer settles."""
        if not self.running:
            return 0
        prompts = sum(running.n_remaining for running in self.running if not running.is_decoding)
        sequences = [*self.running, newcomer]
        return prompts + sum(min(LOOKAHEAD, sequence.n_may_generate) for sequence in sequences)

    def _youngest(self) -> Sequence:
        return max(self.running, key=lambda running: running.arrival)

    def _preempt(self, sequence: Sequence) -> None:
        assert sequence.slot is not None, "only a running sequence can be parked"
        self._checkpoints.forget(sequence)
        self.slots.evict(sequence.slot)
        sequence.preempt()
        self.running.remove(sequence)
        self.waiting.preempt(sequence)
