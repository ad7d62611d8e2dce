"""Scheduler: decides what each step computes, and which sequences start, wait or are preempted."""

from __future__ import annotations

from array import array
from operator import attrgetter
from typing import TYPE_CHECKING

from msgspec.structs import replace

from llamabind.scheduling.adapter_turns import AdapterTurns
from llamabind.scheduling.admission import find_prefix
from llamabind.scheduling.checkpoint_planner import CheckpointPlanner
from llamabind.scheduling.prefix_waits import PrefixWaits
from llamabind.scheduling.prompt_planner import PromptPlanner
from llamabind.scheduling.step_plan import StepPlan
from llamabind.scheduling.waiting_queue import WaitingQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llamabind.kv_cache.slot import Adapters
    from llamabind.kv_cache.slot_pool import SlotPool
    from llamabind.scheduling.sequence import Sequence
    from llamabind.scheduling.step_budget import StepBudget
    from llamabind.scheduling.step_plan import DraftPlanner, StepResult


_BY_ARRIVAL = attrgetter("arrival")
_BY_PLAN = attrgetter("planned_at")


class Scheduler:
    """Plans steps over a pool of slots. Pure policy; used only on the engine thread.

    A step computes one token of every decoding sequence, then prompt chunks within its budget. The
    oldest prompt gets at least half of the budget; in the rest shorter prompts come before longer
    ones. A waiting sequence starts when its prompt fits into the free cells beside what the running
    sequences will need soon. If cells run out all the same, the youngest sequence is preempted and
    recomputed later; it does not fail.

    If the budget has a `tile` and not `mixes_tiles`, steps with a tile of prompt tokens or more
    have no decoding sequences; they alternate with steps of fewer tokens that have them
    (EngineShape). With `kv_unified` False no step mixes the two. All sequences of a step have the
    same LoRA scales; groups with different ones take turns (AdapterTurns).
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
        self.paused: set[Sequence] = set()
        self._n_parallel = n_parallel
        self._n_decoding = n_batch  # the most tokens of a step with decoding sequences
        if budget.tile is not None and kv_unified and not budget.mixes_tiles:
            self._n_decoding = min(n_batch, budget.tile - 1)
        self._turns = AdapterTurns()
        # The groups whose next step begins with prompts.
        self._prompts_first: set[Adapters] = set()
        self._n_planned = 0
        self._speculation = speculation
        self._drafts_fit = True
        self._awaited = PrefixWaits(slots)
        self._checkpoints = CheckpointPlanner()
        self._prompts = PromptPlanner(
            slots,
            budget,
            self._checkpoints,
            self.waiting,
            n_batch=n_batch,
            kv_unified=kv_unified,
        )

    @property
    def has_work(self) -> bool:
        """True while any sequence is waiting or running; paused ones are neither."""
        return bool(self.running) or len(self.waiting) > 0

    def add(self, sequence: Sequence) -> None:
        """Queue a new sequence."""
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Remove a finished or cancelled sequence; its KV cells stay as a retained prefix."""
        self._awaited.forget(sequence)
        if sequence in self.paused:
            self.paused.remove(sequence)
            return
        if sequence not in self.running:
            self.waiting.remove(sequence)
            return
        self.running.remove(sequence)
        self._checkpoints.forget(sequence)
        if sequence.slot is not None:
            self.slots.release(sequence.slot)
            sequence.slot = None

    def pause(self, sequence: Sequence) -> None:
        """Compute nothing for a live sequence until `resume`.

        Its slot and KV cells become free for waiting sequences, as a retained prefix: if the cells
        are still there when it resumes, nothing is computed again.
        """
        if sequence in self.paused:
            return
        is_running = sequence in self.running
        self.remove(sequence)
        if is_running:
            sequence.preempt()
        self.paused.add(sequence)

    def resume(self, sequence: Sequence) -> None:
        """Continue a paused sequence: it waits as a new one does, after the others of its caller.

        If it came before all others, as a preempted sequence does, clients that read slowly and
        resume again and again could delay the others without end.
        """
        if sequence in self.paused:
            self.paused.remove(sequence)
            self.waiting.append(sequence)

    def schedule(self) -> StepPlan:
        """Return the plan of the next step. It has chunks if any sequence is running."""
        plan = StepPlan()
        if not self.running:
            self._admit()
        self._plan_first(plan, self._plan_group)
        while not plan.chunks and self.running:
            # Unfinished prompts hold all cells and none can continue: preempt the youngest.
            self._preempt(self._youngest())
            self._plan_first(plan, self._plan_prompts)
        if self._speculation is not None and self._drafts_fit:
            self._plan_drafts(plan, self._speculation)
        for n, chunk in enumerate(plan.chunks, self._n_planned + 1):
            chunk.sequence.planned_at = n
        self._n_planned += len(plan.chunks)
        # With a split cache llama.cpp puts only consecutive sequence ids into one graph
        # (llama_batch_allocr::split_equal), and each graph reads all weights.
        plan.chunks.sort(key=lambda chunk: chunk.slot.seq_id)
        plan.operations = self.slots.take_operations()
        return plan

    def commit(self, plan: StepPlan, result: StepResult) -> None:
        """Note that `plan` was computed; called before its new tokens are added."""
        self._drafts_fit = True
        runs = iter(result.sampled)
        for chunk in plan.chunks:
            run = next(runs) if chunk.is_last else None
            computed = chunk.sequence.tokens[chunk.start : chunk.end]
            n_accepted = 0
            if chunk.draft and run is not None:
                n_accepted = run.n_accepted
                computed.extend(array("i", chunk.draft[:n_accepted]))
            self.slots.commit(chunk.slot, computed)
            chunk.sequence.n_computed = chunk.end + n_accepted
            if chunk.draft and self._speculation is not None:
                chunk.sequence.n_drafted += len(chunk.draft)
                chunk.sequence.n_draft_accepted += n_accepted
                self._speculation.observe(chunk.sequence, len(chunk.draft), n_accepted)

    def confirm_saved(self, sizes: Mapping[int, int]) -> None:
        """Note the bytes of the saved states, by id; states without an entry were not saved."""
        self.slots.host.confirm(sizes)

    def shift(self, sequence: Sequence) -> None:
        """Drop the older part of a running sequence whose context is full (Sequence.shift).

        The remaining tokens are computed again, as after a preemption: moving their KV cells would
        also change the cells for the sequences that share them, and recurrent memory has no cells.
        """
        assert sequence.slot is not None, "only a running sequence can be shifted"
        n_keep = sequence.shift()
        self._checkpoints.forget(sequence)
        self.slots.shorten(sequence.slot, n_keep)
        self.slots.release(sequence.slot)
        sequence.preempt()
        self.running.remove(sequence)
        self.waiting.preempt(sequence)

    def check(self) -> None:
        """Assert that no cell and no saved state is lost or miscounted (debug mode, tests)."""
        self.slots.check()

    def roll_back(self, plan: StepPlan) -> None:
        """Undo a plan for which llama.cpp found too few free cells, although we count enough.

        Evict all retained prefixes, preempt the youngest sequence, and draft nothing in the next
        step. If the step has media, preempt the sequences with media instead and empty their slots:
        media are computed before the batch, so their cells may be filled already. A sequence that
        runs alone is not preempted.
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

    def _plan_first(self, plan: StepPlan, make: Callable[[StepPlan, Adapters], None]) -> None:
        """Plan the sequences of the first group that has something to compute."""
        for adapters in self._turns.order(self.running):
            make(plan, adapters)
            if plan.chunks:
                plan.adapters = adapters
                self._turns.take(adapters)
                return

    def _plan_group(self, plan: StepPlan, adapters: Adapters) -> None:
        """Plan a step of the sequences with these adapters, and start waiting ones."""
        if adapters in self._prompts_first:
            self._prompts_first.discard(adapters)
            self._admit()
            self._plan_prompts(plan, adapters)
        if not plan.chunks:
            self._plan_decoding(plan, adapters)
            if self._admit():
                # A resumed sequence may have only its last token left to compute.
                self._plan_decoding(plan, adapters)
            self._plan_prompts(plan, adapters)

    def _plan_decoding(self, plan: StepPlan, adapters: Adapters) -> None:
        planned = {chunk.sequence for chunk in plan.chunks}
        decoding = [
            running
            for running in self.running
            if running.is_decoding and running.adapters == adapters and running not in planned
        ]
        n_most = self._n_decoding - len(planned)
        if len(decoding) > n_most:
            # Too many for one step: take those that have waited longest for their next token.
            decoding = sorted(decoding, key=_BY_PLAN)[:n_most]
        decoding.sort(key=_BY_ARRIVAL)
        if self.slots.cells.n_free >= len(decoding):
            for sequence in decoding:
                assert sequence.slot is not None, "a decoding sequence without a slot"
                self.slots.take_one(sequence.slot)
                plan.add(sequence, 1)
            return
        for sequence in decoding:
            if sequence in self.running:
                self._reserve_or_preempt(sequence)
                plan.add(sequence, 1)

    def _reserve_or_preempt(self, sequence: Sequence) -> None:
        """Reserve a cell for the next token of a decoding sequence.

        If none is free, preempt the youngest sequences one by one; this one may be among them.
        """
        while sequence.slot is not None and not self.slots.reserve(sequence.slot, 1):
            self._preempt(self._youngest())

    def _plan_prompts(self, plan: StepPlan, adapters: Adapters) -> None:
        prefilling = [running for running in self.running if not running.is_decoding]
        prompts = [
            running
            for running in sorted(prefilling, key=_BY_ARRIVAL)
            if running.slot is not None and running.adapters == adapters
        ]
        n_decoding = len(self.running) - len(prefilling)
        if prompts and not self._prompts.plan(plan, prompts, n_decoding):
            self._prompts_first.add(adapters)

    def _plan_drafts(self, plan: StepPlan, speculation: DraftPlanner) -> None:
        """Add drafts of the decoding sequences to the batch, without preempting any sequence."""
        decoding = [
            chunk.sequence
            for chunk in plan.chunks
            # A drafter reads the prompt and cannot read the pseudo-tokens of media.
            if chunk.sequence.is_decoding and not chunk.sequence.request.media
        ]
        if not decoding:
            return
        n_planned = plan.n_tokens
        # A medium has a batch of its own, so n_planned may exceed the limit.
        drafts = speculation.draft(decoding, n_planned, max(0, self._n_decoding - n_planned))
        for index, chunk in enumerate(plan.chunks):
            draft = drafts.get(chunk.sequence, ())
            if draft and not self.slots.reserve(chunk.slot, len(draft)):
                draft = draft[: self.slots.cells.n_free]
                self.slots.reserve(chunk.slot, len(draft))
            if draft:
                plan.chunks[index] = replace(chunk, draft=draft)

    def _admit(self) -> bool:
        """Start waiting sequences in the queue's order; return True if any was started."""
        n_before = len(self.running)
        if n_before < self._n_parallel and len(self.waiting) > 0:
            self._start_waiting()
        return len(self.running) > n_before

    def _start_waiting(self) -> None:
        for sequence in list(self.waiting):
            if self._awaited.is_awaiting(sequence, self.running):
                continue
            # The first sequence that does not fit ends the loop: starting smaller ones after it
            # could delay it for ever.
            if len(self.running) >= self._n_parallel or not self._try_start(sequence):
                return

    def _try_start(self, sequence: Sequence) -> bool:
        prefix = find_prefix(self.slots, self.running, sequence)
        if prefix is None:
            return False
        # Longest prefix shared with any other prompt; must be read before open() changes the slots.
        n_common = 0
        if not self.slots.is_cuttable:
            n_common = self.slots.longest_common(sequence.tokens, sequence.adapters)
        slot = self.slots.open(sequence, prefix, sequence.request.id_slot, sequence.adapters)
        if slot is None:
            return False
        slot.is_private = not sequence.request.cache_prompt
        self.waiting.take(sequence)
        self.running.append(sequence)
        sequence.start(slot, prefix.n)
        self._checkpoints.start(sequence, n_common)
        return True

    def _youngest(self) -> Sequence:
        return max(self.running, key=_BY_ARRIVAL)

    def _preempt(self, sequence: Sequence) -> None:
        assert sequence.slot is not None, "only a running sequence can be preempted"
        self._checkpoints.forget(sequence)
        self.slots.evict(sequence.slot)
        sequence.preempt()
        self.running.remove(sequence)
        self.waiting.preempt(sequence)
