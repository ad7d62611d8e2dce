"""EngineCore: the engine without native code, driven by a Runner that computes its steps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from llamabind.engine.prefix_reads import PrefixReads
from llamabind.engine.slot_reports import report_slots
from llamabind.engine.stats import StatsKeeper
from llamabind.errors import (
    InvalidParameterError,
    NoKvSlotError,
    PromptTooLongError,
    QueueFullError,
)
from llamabind.kv_cache.checkpoint_pool import CheckpointPool
from llamabind.kv_cache.host_cache import HostCache
from llamabind.kv_cache.slot_pool import SlotPool
from llamabind.kv_cache.split_pool import SplitSlotPool
from llamabind.media.known_media import KnownMedia
from llamabind.media.medium import text_tokens
from llamabind.request import ErrorCode, FinishReason, GenerationRequest, RequestOutput
from llamabind.scheduling.scheduler import Scheduler
from llamabind.scheduling.sequence import Sequence, Vocabulary
from llamabind.scheduling.step_budget import StepBudget
from llamabind.scheduling.stop_strings import prepare_stops

if TYPE_CHECKING:
    from collections.abc import Callable

    from llamabind.engine.shape import EngineShape
    from llamabind.engine.slot_reports import SlotReport
    from llamabind.engine.stats import EngineStats
    from llamabind.scheduling.sampled import SampledRun
    from llamabind.scheduling.step_plan import StepPlan, StepResult
    from llamabind.speculation.planner import SpeculationPlanner


class Runner(Protocol):
    """Computes the steps: ModelRunner with llama.cpp, or a fake in tests."""

    def prepare(self, request: GenerationRequest) -> None:
        """Make the sampler of `request`. Any thread.

        Raises GrammarError or InvalidParameterError.
        """

    def release(self, request_id: str) -> None:
        """Free what `prepare` made; unknown ids are ignored."""

    def run(self, plan: StepPlan) -> StepResult:
        """Carry out the memory operations, decode, and sample after each chunk with `is_last`."""


class EngineCore:
    """Runs requests step by step. Only `prepare` and `stats` may be used on other threads.

    `slots` has the tokens that each sequence id holds; only the scheduler, a SlotExchange and a
    PrefixExchange change them. With a source in `prefix_reads` a new request waits while a prefix
    of its prompt is read from a file. `adapter_scales` has the scale of each LoRA adapter for
    requests without `lora`. Every added request ends with exactly one output that has a
    finish_reason, also if it fails or is cancelled.
    """

    def __init__(
        self,
        runner: Runner,
        vocabulary: Vocabulary,
        shape: EngineShape,
        clock: Callable[[], float] = time.perf_counter,
        speculation: SpeculationPlanner | None = None,
    ) -> None:
        self.shape = shape
        self.slots = _make_slots(shape)
        self._runner = runner
        self._vocabulary = vocabulary
        self._clock = clock
        self._scheduler = Scheduler(
            self.slots,
            StepBudget(
                shape.n_batch,
                shape.max_gap,
                shape.attention_tile,
                shape.n_ubatch,
                shares_steps=shape.kv_unified or shape.attention_tile is None,
                mixes_tiles=shape.has_own_tiles,
            ),
            n_parallel=shape.n_parallel,
            n_batch=shape.n_batch,
            kv_unified=shape.kv_unified,
            speculation=speculation if shape.can_remove(1) else None,
        )
        self._speculation = speculation
        self._live: dict[str, Sequence] = {}
        self._outputs: list[RequestOutput] = []
        self.prefix_reads = PrefixReads()
        self.adapter_scales: tuple[float, ...] = ()
        self.known_media = KnownMedia()
        self._n_arrived = 0
        self._has_deadlines = False
        self._stats = StatsKeeper(self.slots, self._scheduler, self.prefix_reads, speculation)

    @property
    def stats(self) -> EngineStats:
        """The figures after the latest step."""
        return self._stats.latest

    @property
    def has_work(self) -> bool:
        """True while a step has something to compute, to change or to output."""
        return bool(self._outputs) or self._scheduler.has_work

    def prepare(self, request: GenerationRequest) -> None:
        """Check that `request` can run, and make its sampler. Any thread.

        Raises PromptTooLongError, InvalidParameterError, GrammarError or QueueFullError. A prepared
        request must be added with `add`, which frees its sampler at the end.
        """
        n_prompt = len(request.prompt_tokens)
        if n_prompt >= self.shape.n_ctx:
            raise PromptTooLongError(n_prompt, self.shape.n_ctx)
        last = self.shape.n_vocab - 1
        tokens = request.prompt_tokens
        if request.media:
            tokens = text_tokens(request.prompt_tokens, request.media)
        if request.lora and len(request.lora) != len(self.adapter_scales):
            n_given, n_adapters = len(request.lora), len(self.adapter_scales)
            raise InvalidParameterError(
                "lora", f"{n_given} scales were given, but the model has {n_adapters} adapters"
            )
        if min(tokens) < 0 or max(tokens) > last:
            raise InvalidParameterError("prompt", f"token ids must be from 0 to {last}")
        self._check_queue()
        prepare_stops((*request.stop, *request.template_stop))
        self._runner.prepare(request)

    def add(self, request: GenerationRequest) -> None:
        """Queue a prepared request."""
        assert request.request_id not in self._live, "another live request has this id"
        sequence = Sequence(
            request,
            self._vocabulary,
            self.shape.n_ctx,
            self._n_arrived,
            self._clock,
            may_shift=self.shape.context_shift,
        )
        scales = self.adapter_scales if request.lora is None else request.lora
        # No adapter applied is the same as none loaded.
        sequence.adapters = scales if any(scales) else ()
        self._n_arrived += 1
        self.known_media.remember(request.media, request.prompt_tokens)
        self._has_deadlines |= request.max_queue_seconds is not None
        self._live[request.request_id] = sequence
        if request.max_tokens == 0 and request.prompt_logprobs is None:
            self._end(sequence, sequence.finish(FinishReason.LENGTH))
        elif not self.prefix_reads.begin(sequence):
            self._scheduler.add(sequence)

    def admit_read(self, request_id: str) -> None:
        """Queue a request that waited for a prefix to be read; other ids are ignored."""
        sequence = self.prefix_reads.take(request_id)
        if sequence is not None:
            self._scheduler.add(sequence)

    def cancel(self, request_id: str) -> None:
        """End a waiting or running request now; unknown and ended ids are ignored."""
        sequence = self._live.get(request_id)
        if sequence is not None and sequence.finish_reason is None:
            if self.prefix_reads.take(request_id) is None:
                self._scheduler.remove(sequence)
            self._end(sequence, sequence.finish(FinishReason.ABORT))

    def pause(self, request_id: str) -> None:
        """Compute nothing for a request until `resume`; unknown and ended ids are ignored."""
        self.admit_read(request_id)
        sequence = self._live.get(request_id)
        if sequence is not None and sequence.finish_reason is None:
            self._scheduler.pause(sequence)
            self._stats.count()

    def resume(self, request_id: str) -> None:
        """Continue a paused request, with the tokens that it would have had without the pause."""
        sequence = self._live.get(request_id)
        if sequence is not None:
            self._scheduler.resume(sequence)
            self._stats.count()

    def step(self) -> list[RequestOutput]:
        """Compute one batch and return its outputs, and those of requests that ended before it."""
        self._drop_overdue()
        plan = self._scheduler.schedule()
        started = self._clock()
        if plan.chunks or plan.operations:
            self._run(plan)
        outputs = self._take_outputs()
        self._stats.add_step(plan, outputs, self._clock() - started)
        if self.shape.debug and not self._scheduler.has_work:
            self.check_idle()
        return outputs

    def abort_all(self) -> list[RequestOutput]:
        """Cancel every live request and return the last outputs."""
        for request_id in list(self._live):
            self.cancel(request_id)
        return self._take_outputs()

    def fail_all(self, error: str) -> list[RequestOutput]:
        """End every live request with `error` after a failed step; no other step may follow."""
        for sequence in list(self._live.values()):
            self._end(sequence, sequence.finish(FinishReason.ERROR, error=error))
        self.prefix_reads.clear()
        return self._take_outputs()

    def learn_prompt_speed(self, n_tokens: int, seconds: float) -> None:
        """Give the step budget the time of a prompt step of `n_tokens` during warm-up.

        Without it the first prompt of a slow model could be one step of minutes, in which the
        engine carries out no command.
        """
        self._scheduler.budget.observe(0, n_tokens, seconds)

    def report_slots(self) -> tuple[SlotReport, ...]:
        """Describe every slot: the tokens that it holds and the request that runs in it."""
        return report_slots(self.slots, self._scheduler.running)

    def check_idle(self) -> None:
        """Assert that slots, cells and requests are accounted for (debug mode, tests)."""
        self._scheduler.check()
        if not self._scheduler.has_work:
            n_held = len(self._scheduler.paused) + len(self.prefix_reads)
            assert len(self._live) == n_held, "a request was lost"

    def _check_queue(self) -> None:
        # Requests between prepare() and add() are not counted: the limit bounds memory and waiting
        # time, so it need not be exact.
        stats = self.stats
        limit, n_waiting = self.shape.max_waiting, len(self._live) - stats.running - stats.paused
        if limit is not None and n_waiting >= limit:
            raise QueueFullError(n_waiting, limit)

    def _drop_overdue(self) -> None:
        if not self._has_deadlines:
            return
        for sequence in [waiting for waiting in self._scheduler.waiting if waiting.is_overdue]:
            limit = sequence.request.max_queue_seconds
            self._scheduler.remove(sequence)
            error = f"timed out after {limit} s in the queue (max_queue_seconds)"
            output = sequence.finish(FinishReason.ERROR, error, ErrorCode.QUEUE_TIMEOUT)
            self._end(sequence, output)

    def _run(self, plan: StepPlan) -> None:
        n_tokens, n_decoding = plan.n_tokens, plan.n_decoding + plan.n_drafted
        started = self._clock()
        try:
            result = self._runner.run(plan)
        except NoKvSlotError:
            self._recover_from_full_cache(plan)
            return
        seconds = self._clock() - started
        if not result.is_trial:
            n_prompt = n_tokens - n_decoding
            context = plan.prompt_context if n_prompt else 0.0
            self._scheduler.budget.observe(n_decoding, n_prompt, seconds, context)
            if self._speculation is not None:
                self._speculation.observe_step(n_tokens, seconds)
        last = [chunk for chunk in plan.chunks if chunk.is_last]
        self._scheduler.commit(plan, result)
        self._scheduler.confirm_saved(result.saved)
        for chunk in plan.chunks:
            sequence = chunk.sequence
            if result.prompt_logprobs:
                logprobs = result.prompt_logprobs.get(sequence.request_id, [])
                sequence.add_prompt_logprobs(chunk.start + 1, logprobs)
            if sequence.request.return_progress and chunk.n_prompt and not sequence.n_generated:
                self._outputs.append(sequence.progress())
        for chunk, run in zip(last, result.sampled, strict=True):
            self._take_run(chunk.sequence, run)

    def _take_outputs(self) -> list[RequestOutput]:
        outputs, self._outputs = self._outputs, []
        return outputs

    def _take_run(self, sequence: Sequence, run: SampledRun) -> None:
        output = sequence.append(run)
        if output.finish_reason is None:
            self._outputs.append(output)
            if sequence.must_shift:
                self._scheduler.shift(sequence)
                if self._speculation is not None:
                    self._speculation.forget(sequence)
        else:
            self._scheduler.remove(sequence)
            self._end(sequence, output)

    def _recover_from_full_cache(self, plan: StepPlan) -> None:
        """Free KV cells when llama.cpp finds fewer free ones than we counted.

        Retained prefixes and slots are given up; the request fails only if it ran alone.
        """
        alone = len(self._scheduler.running) == 1
        was_tight = not self.slots.has_retained and plan.n_drafted == 0
        self._scheduler.confirm_saved({})
        self._scheduler.roll_back(plan)
        if alone and was_tight:
            sequence = self._scheduler.running[0]
            self._scheduler.remove(sequence)
            error = (
                f"the KV cache has too few free cells for {len(sequence.tokens)} tokens; shorten "
                "the prompt, or load the model with a larger n_ctx"
            )
            self._end(sequence, sequence.finish(FinishReason.ERROR, error=error))

    def _end(self, sequence: Sequence, output: RequestOutput) -> None:
        del self._live[sequence.request_id]
        self._runner.release(sequence.request_id)
        if self._speculation is not None:
            self._speculation.forget(sequence)
        self._outputs.append(output)


def _make_slots(shape: EngineShape) -> SlotPool:
    is_cuttable = shape.is_cuttable and not shape.window
    host = HostCache(shape.cache_ram_bytes, shape.state_size, is_cuttable=is_cuttable)
    if not shape.is_cuttable:
        is_partial = shape.is_checkpoint_partial
        return CheckpointPool(shape.n_slots, shape.n_cells, host, is_partial=is_partial)
    if shape.kv_unified:
        return SlotPool(shape.n_slots, shape.n_cells, host)
    return SplitSlotPool(shape.n_slots, shape.n_ctx, host)
