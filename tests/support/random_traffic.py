"""Random requests to an engine over a runner that asserts correct use of its memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from llamabind.engine.core import EngineCore
from llamabind.kv_cache import slot_pool, split_pool
from llamabind.request import ErrorCode, FinishReason, RequestOutput
from llamabind.scheduling import checkpoint_planner, prefix_waits
from llamabind.scheduling.step_plan import StepPlan, StepResult
from llamabind.speculation.planner import SpeculationPlanner
from tests.support.engine_driver import (
    expected_answer,
    make_engine,
    make_request,
    submit,
    tokens_of,
)
from tests.support.fake_drafter import FakeDrafter
from tests.support.fake_runner import FakeRunner


@contextmanager
def short_is_long_enough(shortest: int) -> Iterator[None]:
    """Lower the length from which prompts are saved, shared and waited for to `shortest`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_planner, "SPACING", 4 * shortest)
        patch.setattr(checkpoint_planner, "MIN_SPACING", shortest)
        patch.setattr(prefix_waits, "MIN_SHARED_PREFIX", shortest)
        patch.setattr(slot_pool, "MIN_SAVED", shortest)
        patch.setattr(split_pool, "MIN_COPIED_PREFIX", shortest)
        yield


STOPS = range(33, 97)
"""Printable bytes, and so tokens: one of three or four ends an answer that has them as stops."""


class StepClock:
    """A clock that advances only with steps, in proportion to their tokens."""

    def __init__(self, seconds_per_token: float) -> None:
        self._seconds = 0.0
        self._per_token = seconds_per_token

    def __call__(self) -> float:
        return self._seconds

    def time(self, runner: FakeRunner) -> None:
        compute = runner.run

        def run(plan: StepPlan) -> StepResult:
            self._seconds += plan.n_tokens * self._per_token
            return compute(plan)

        runner.run = run  # type: ignore[method-assign]


@dataclass(frozen=True)
class Arrival:
    """A request: when it arrives, its fields, and when its client disconnects.

    With `stops` a third of all tokens end its answer.
    """

    delay: int
    prompt: list[int]
    max_tokens: int | None
    cancel_after: int | None
    caller: str
    priority: int = 0
    max_queue_seconds: float | None = None
    stops: bool = False
    cache_prompt: bool = True
    prompt_logprobs: int | None = None
    id_slot: int | None = None
    lora: tuple[float, ...] | None = None
    n_keep: int = 0


class Traffic:
    """Drives an engine step by step and keeps all outputs."""

    def __init__(self, engine: EngineCore, runner: FakeRunner, refuse_every: int | None) -> None:
        self.engine = engine
        self._runner = runner
        self._no_room_every = refuse_every
        self.outputs: dict[str, list[RequestOutput]] = {}
        self._cancels: dict[int, list[str]] = {}
        self._step = 0

    def arrive(self, request_id: str, arrival: Arrival) -> None:
        self.advance(arrival.delay)
        request = make_request(
            request_id,
            arrival.prompt,
            arrival.max_tokens,
            caller=arrival.caller,
            priority=arrival.priority,
            max_queue_seconds=arrival.max_queue_seconds,
            stop=tuple(map(chr, STOPS)) if arrival.stops else (),
            cache_prompt=arrival.cache_prompt,
            prompt_logprobs=arrival.prompt_logprobs,
            id_slot=arrival.id_slot,
            lora=arrival.lora,
            n_keep=arrival.n_keep,
        )
        submit(self.engine, request)
        if arrival.cancel_after is not None:
            self._cancels.setdefault(self._step + arrival.cancel_after, []).append(request_id)

    def advance(self, n_steps: int) -> None:
        for _ in range(n_steps):
            for request_id in self._cancels.get(self._step, []):
                self.engine.cancel(request_id)
            self._step += 1
            if self._no_room_every is not None:
                self._runner.refuse_next = self._step % self._no_room_every == 0
            for output in self.engine.step():
                self.outputs.setdefault(output.request_id, []).append(output)
            # Between two steps the counts are right, and ended requests leave no state.
            self.engine.check_idle()

    def finish(self, max_steps: int = 3_000) -> None:
        while self.engine.has_work:
            self.advance(1)
            assert self._step < max_steps, "a request starved"


def assert_answered(arrival: Arrival, outputs: list[RequestOutput], sizes: Sizes) -> None:
    """Exactly one end, and the model's own answer up to it."""
    reasons = [output.finish_reason for output in outputs]
    assert [reason for reason in reasons if reason is not None] == reasons[-1:]
    n_ctx = sizes.n_ctx
    tokens, reason = expected_answer(
        arrival.prompt,
        arrival.max_tokens,
        n_ctx,
        context_shift=sizes.context_shift,
        n_keep=arrival.n_keep,
    )
    stop = next((i for i, token in enumerate(tokens) if token in STOPS), None)
    if arrival.stops and stop is not None:
        tokens, reason = tokens[: stop + 1], FinishReason.STOP
    if reasons[-1] is FinishReason.ABORT:
        assert arrival.cancel_after is not None
        assert tokens_of(outputs) == tokens[: len(tokens_of(outputs))]
    else:
        assert (tokens_of(outputs), reasons[-1]) == (tokens, reason)
        assert outputs[-1].truncated == (len(arrival.prompt) + len(tokens) >= n_ctx)
        reported = [each.token for output in outputs for each in output.prompt_logprobs]
        assert reported == (arrival.prompt[1:] if arrival.prompt_logprobs is not None else [])
    if not arrival.cache_prompt or arrival.prompt_logprobs is not None:
        assert outputs[-1].usage.cached_tokens == 0


@dataclass(frozen=True)
class Sizes:
    """An engine, how often its drafts are wrong (None: it makes none), and every how many steps its
    memory has no room although we counted some (None: never). A step takes `seconds_per_token`.
    """

    n_ctx: int
    n_parallel: int
    n_retained: int
    n_batch: int
    is_cuttable: bool
    kv_unified: bool
    cache_ram_bytes: int
    is_checkpoint_partial: bool
    wrong_every: int | None
    refuse_every: int | None = None
    attention_tile: int | None = None
    seconds_per_token: float = 0.0
    context_shift: bool = False


def check_traffic(sizes: Sizes, arrivals: Sequence[Arrival]) -> None:
    """Every request ends once, with the answer that it gets alone; no cell is lost."""
    if sizes.context_shift:
        arrivals = [replace(one, max_tokens=one.max_tokens or 150) for one in arrivals]
    speculation = None
    wrong_every = sizes.wrong_every
    if wrong_every is not None:
        speculation = SpeculationPlanner(FakeDrafter(lambda n: n % wrong_every == 0), n_max=8)
    clock = StepClock(sizes.seconds_per_token)
    engine, runner = make_engine(
        sizes.n_ctx,
        clock=clock,
        n_parallel=sizes.n_parallel,
        n_slots=sizes.n_parallel + sizes.n_retained,
        n_batch=sizes.n_batch,
        is_cuttable=sizes.is_cuttable,
        is_checkpoint_partial=sizes.is_checkpoint_partial and sizes.kv_unified,
        kv_unified=sizes.kv_unified,
        cache_ram_bytes=sizes.cache_ram_bytes,
        attention_tile=sizes.attention_tile,
        speculation=speculation,
        context_shift=sizes.context_shift,
    )
    engine.adapter_scales = (0.0,)
    clock.time(runner)
    traffic = Traffic(engine, runner, sizes.refuse_every)
    requests = {f"r{number}": arrival for number, arrival in enumerate(arrivals)}
    for request_id, arrival in requests.items():
        traffic.arrive(request_id, arrival)
    traffic.finish()
    engine.check_idle()
    assert runner.prepared == set()
    assert set(traffic.outputs) == set(requests)
    for request_id, arrival in requests.items():
        outputs = traffic.outputs[request_id]
        if outputs[-1].error_code is ErrorCode.QUEUE_TIMEOUT:
            assert arrival.max_queue_seconds is not None
            assert tokens_of(outputs) == []
        elif outputs[-1].finish_reason is FinishReason.ERROR:
            # A request that finds too few cells although it runs alone gets an error.
            assert sizes.refuse_every is not None
            assert "too few free cells" in (outputs[-1].error or "")
        else:
            assert_answered(arrival, outputs, sizes)
