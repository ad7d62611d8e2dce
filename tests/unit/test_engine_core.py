"""The engine's policy, driven by a fake runner that keeps KV as llama.cpp would."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from fake_drafter import FakeDrafter
from fake_runner import EOG, N_VOCAB, FakeRunner, FakeVocabulary, next_token
from hypothesis import given, settings
from hypothesis import strategies as st

from llamabind.engine_core import EngineCore, EngineShape
from llamabind.errors import InvalidParameterError, PromptTooLongError, QueueFullError
from llamabind.host_cache import StateSize
from llamabind.request import FinishReason, GenerationRequest, RequestOutput
from llamabind.speculation import Speculation


def _make_engine(
    n_ctx: int = 64, clock=lambda: 0.0, speculation: Speculation | None = None, **sizes
) -> tuple[EngineCore, FakeRunner]:
    sizes = {"n_parallel": 4, "n_slots": 8, "n_batch": 16, **sizes}
    if sizes.get("kv_unified", True):
        sizes["n_cells"] = n_ctx
    else:
        sizes["n_slots"] = sizes["n_parallel"]
        sizes["n_cells"] = n_ctx * sizes["n_slots"]
    sizes.setdefault("state_size", StateSize(per_token=1))
    is_cuttable = sizes.get("is_cuttable", True)
    runner = FakeRunner(sizes["n_cells"], sizes["n_batch"], is_cuttable=is_cuttable)
    shape = EngineShape(n_ctx=n_ctx, n_vocab=N_VOCAB, **sizes)
    engine = EngineCore(runner, FakeVocabulary(), shape, clock=clock, speculation=speculation)
    return engine, runner


def _make_request(
    request_id: str, prompt: list[int], max_tokens: int | None = 5, **fields
) -> GenerationRequest:
    return GenerationRequest(
        request_id=request_id, prompt_tokens=tuple(prompt), max_tokens=max_tokens, **fields
    )


def _submit(engine: EngineCore, *requests: GenerationRequest) -> None:
    for request in requests:
        engine.prepare(request)
        engine.add(request)


def _run(engine: EngineCore, max_steps: int = 10_000) -> dict[str, list[RequestOutput]]:
    outputs: dict[str, list[RequestOutput]] = {}
    for _ in range(max_steps):
        if not engine.has_work:
            return outputs
        for output in engine.step():
            outputs.setdefault(output.request_id, []).append(output)
    raise AssertionError("the engine never became idle")


def _tokens(outputs: list[RequestOutput]) -> list[int]:
    return [token for output in outputs for token in output.token_ids]


def _expected(
    prompt: list[int], max_tokens: int | None, n_ctx: int
) -> tuple[list[int], FinishReason]:
    """What the model says to `prompt` alone, straight from its definition."""
    tokens: list[int] = []
    while max_tokens is None or len(tokens) < max_tokens:
        if len(prompt) + len(tokens) >= n_ctx:
            break
        tokens.append(next_token(prompt + tokens))
        if tokens[-1] == EOG:
            return tokens, FinishReason.STOP
    return tokens, FinishReason.LENGTH


def test_one_request_gives_the_models_tokens_and_its_counts():
    engine, runner = _make_engine()
    _submit(engine, _make_request("a", [1, 2, 3]))
    outputs = _run(engine)["a"]
    assert (_tokens(outputs), outputs[-1].finish_reason) == _expected([1, 2, 3], 5, 64)
    assert outputs[-1].usage.prompt_tokens == 3
    assert outputs[-1].usage.completion_tokens == 5
    assert [output.finish_reason for output in outputs[:-1]] == [None] * 4
    assert runner.prepared == set()


def test_requests_join_and_leave_a_running_batch():
    engine, runner = _make_engine()
    _submit(engine, _make_request("a", [1, 2, 3], 8))
    engine.step()
    _submit(engine, _make_request("b", [7, 8], 3))
    engine.step()
    assert runner.batch_sizes[-1] == 3, "one token of a and the two of b's prompt share a batch"
    _run(engine)
    engine.check_idle()


def test_a_prompt_longer_than_the_batch_is_computed_in_chunks():
    engine, runner = _make_engine(n_batch=16)
    prompt = list(range(1, 41))
    _submit(engine, _make_request("a", prompt, 1))
    outputs = _run(engine)["a"]
    assert runner.batch_sizes == [16, 16, 8]
    assert _tokens(outputs) == [next_token(prompt)]


def test_max_tokens_zero_gives_an_empty_answer_without_computing():
    engine, runner = _make_engine()
    _submit(engine, _make_request("a", [1, 2], 0))
    (output,) = _run(engine)["a"]
    assert (output.text, output.finish_reason, output.usage.prompt_tokens) == (
        "",
        FinishReason.LENGTH,
        2,
    )
    assert runner.n_computed == 0


def test_the_context_end_finishes_with_length():
    engine, _ = _make_engine(n_ctx=8)
    _submit(engine, _make_request("a", [1, 2, 3, 4, 5], None))
    outputs = _run(engine)["a"]
    assert len(_tokens(outputs)) == 3
    assert outputs[-1].finish_reason is FinishReason.LENGTH


def test_a_prompt_that_can_never_fit_is_refused_with_both_numbers():
    engine, runner = _make_engine(n_ctx=8)
    with pytest.raises(PromptTooLongError) as caught:
        engine.prepare(_make_request("a", [1] * 8))
    assert (caught.value.n_prompt_tokens, caught.value.n_ctx) == (8, 8)
    assert runner.prepared == set()


@pytest.mark.parametrize("token", [-1, N_VOCAB])
def test_token_ids_outside_the_vocabulary_are_refused(token):
    engine, _ = _make_engine()
    with pytest.raises(InvalidParameterError, match="token ids"):
        engine.prepare(_make_request("a", [1, token]))


def test_a_second_request_reuses_the_first_ones_prefix():
    engine, runner = _make_engine()
    prompt = list(range(1, 31))
    _submit(engine, _make_request("a", prompt, 2))
    _run(engine)
    before = runner.n_computed
    _submit(engine, _make_request("b", [*prompt, 99, 98], 1))
    outputs = _run(engine)["b"]
    assert outputs[-1].usage.cached_tokens == 30
    assert runner.n_computed - before == 2
    assert _tokens(outputs) == [next_token([*prompt, 99, 98])]


def test_the_same_prompt_again_computes_one_token():
    engine, runner = _make_engine()
    prompt = list(range(1, 31))
    _submit(engine, _make_request("a", prompt, 1))
    _run(engine)
    before = runner.n_computed
    _submit(engine, _make_request("b", prompt, 1))
    assert _run(engine)["b"][-1].usage.cached_tokens == 29
    assert runner.n_computed - before == 1


def test_a_prefix_under_computation_is_computed_once_for_all():
    engine, runner = _make_engine(n_ctx=256, n_parallel=8, n_slots=16, n_batch=32)
    shared = [(7 * i) % 200 + 1 for i in range(100)]
    _submit(engine, *(_make_request(f"r{i}", [*shared, 210 + i], 3) for i in range(8)))
    outputs = _run(engine)
    for i in range(8):
        assert _tokens(outputs[f"r{i}"]) == _expected([*shared, 210 + i], 3, 256)[0]
    assert runner.n_computed == 100 + 8 * (1 + 2), (
        "the prefix once, then each its own token and two decoded ones"
    )


def test_cancel_ends_a_request_wherever_it_is_and_keeps_its_prefix():
    engine, runner = _make_engine(n_parallel=1)
    prompt = list(range(1, 31))
    _submit(engine, _make_request("running", prompt, None), _make_request("queued", [5, 6], None))
    engine.step()
    engine.cancel("queued")
    engine.cancel("running")
    outputs = _run(engine)
    assert [output.finish_reason for output in outputs["queued"]] == [FinishReason.ABORT]
    assert outputs["running"][-1].finish_reason is FinishReason.ABORT
    before = runner.n_computed
    _submit(engine, _make_request("again", prompt[:16], 1))
    _run(engine)
    assert runner.n_computed - before == 1
    engine.check_idle()


def test_cancelling_an_unknown_id_does_nothing():
    engine, _ = _make_engine()
    engine.cancel("nobody")
    assert not engine.has_work


def test_out_of_cells_parks_the_youngest_and_all_finish_right():
    engine, runner = _make_engine(n_ctx=64, n_parallel=4)
    requests = [_make_request(f"r{i}", [10 + i] * 4, 40) for i in range(4)]
    _submit(engine, *requests)
    outputs = _run(engine)
    for i in range(4):
        tokens, reason = _expected([10 + i] * 4, 40, 64)
        assert _tokens(outputs[f"r{i}"]) == tokens
        assert outputs[f"r{i}"][-1].finish_reason is reason
    assert runner.n_cells_used <= 64
    engine.check_idle()


def test_in_streams_a_shared_prefix_is_copied_and_computed_once():
    engine, runner = _make_engine(n_ctx=256, kv_unified=False, n_parallel=4, n_batch=32)
    shared = [(7 * i) % 200 + 1 for i in range(100)]
    _submit(engine, *(_make_request(f"r{i}", [*shared, 210 + i], 3) for i in range(4)))
    outputs = _run(engine)
    for i in range(4):
        assert _tokens(outputs[f"r{i}"]) == _expected([*shared, 210 + i], 3, 256)[0]
    assert runner.n_computed == 100 + 4 * (1 + 2)
    engine.check_idle()


def test_in_streams_a_short_prefix_is_not_worth_a_copy():
    engine, runner = _make_engine(n_ctx=256, kv_unified=False, n_parallel=4, n_batch=32)
    _submit(engine, *(_make_request(f"r{i}", [*range(1, 11), 210 + i], 1) for i in range(4)))
    outputs = _run(engine)
    assert [outputs[f"r{i}"][-1].usage.cached_tokens for i in range(4)] == [0] * 4
    assert runner.n_computed == 4 * 11


def test_many_requests_of_one_caller_do_not_starve_anothers_single_one():
    engine, _ = _make_engine(n_parallel=1, n_slots=2)
    _submit(engine, *(_make_request(f"many{i}", [20 + i], 1, caller="greedy") for i in range(10)))
    _submit(engine, _make_request("single", [9], 1, caller="modest"))
    order = list(_run(engine))
    assert order.index("single") <= 1


def test_a_lower_priority_goes_first():
    engine, _ = _make_engine(n_parallel=1, n_slots=2)
    _submit(engine, *(_make_request(f"late{i}", [20 + i], 1, priority=1) for i in range(3)))
    _submit(engine, _make_request("urgent", [9], 1, priority=-1))
    assert next(iter(_run(engine))) == "urgent"


def test_a_request_that_waits_too_long_ends_with_an_error():
    now = [0.0]
    engine, _ = _make_engine(n_parallel=1, clock=lambda: now[0])
    _submit(engine, _make_request("runs", [1], None))
    _submit(engine, _make_request("waits", [2], None, max_queue_seconds=10))
    engine.step()
    now[0] = 10.5
    outputs = _run(engine)
    assert outputs["waits"][-1].error == "waited longer than 10 seconds for a seat"
    assert outputs["waits"][-1].finish_reason is FinishReason.ERROR
    assert outputs["runs"][-1].finish_reason is not FinishReason.ERROR


def test_a_full_queue_refuses_with_both_numbers():
    engine, _ = _make_engine(n_parallel=1, max_waiting=2)
    _submit(engine, _make_request("a", [1]), _make_request("b", [2]))
    with pytest.raises(QueueFullError) as caught:
        engine.prepare(_make_request("c", [3]))
    assert (caught.value.n_waiting, caught.value.limit) == (2, 2)
    engine.step()
    engine.prepare(_make_request("c", [3]))


def test_a_refused_batch_costs_cache_but_no_request():
    engine, runner = _make_engine()
    _submit(engine, _make_request("a", [1, 2, 3], 4), _make_request("b", [4, 5, 6], 4))
    engine.step()
    runner.refuse_next = True
    outputs = _run(engine)
    assert outputs["a"][-1].finish_reason is not FinishReason.ERROR
    assert outputs["b"][-1].finish_reason is not FinishReason.ERROR
    engine.check_idle()


def test_fail_all_answers_every_live_request():
    engine, runner = _make_engine(n_parallel=1)
    _submit(engine, _make_request("a", [1], None), _make_request("b", [2], None))
    engine.step()
    outputs = engine.fail_all("the worker broke")
    assert {output.request_id: output.error for output in outputs} == {
        "a": "the worker broke",
        "b": "the worker broke",
    }
    assert runner.prepared == set()


def test_stats_count_what_happened():
    engine, _ = _make_engine()
    _submit(engine, _make_request("a", list(range(1, 31)), 2))
    _run(engine)
    _submit(engine, _make_request("b", list(range(1, 31)), 2))
    _run(engine)
    stats = engine.stats
    assert (stats.running, stats.waiting) == (0, 0)
    assert stats.prompt_tokens == 30 + 1
    assert stats.generated_tokens == 4
    assert stats.cached_tokens == 29
    assert stats.cells_used > 0


@dataclass(frozen=True)
class Arrival:
    """One request of random traffic: when it comes, what it asks, when its client goes away."""

    delay: int
    prompt: list[int]
    max_tokens: int | None
    cancel_after: int | None
    caller: str


class Traffic:
    """Drives an engine step by step and keeps all outputs."""

    def __init__(self, engine: EngineCore) -> None:
        self.engine = engine
        self.outputs: dict[str, list[RequestOutput]] = {}
        self._cancels: dict[int, list[str]] = {}
        self._step = 0

    def arrive(self, request_id: str, arrival: Arrival) -> None:
        self.advance(arrival.delay)
        request = _make_request(
            request_id, arrival.prompt, arrival.max_tokens, caller=arrival.caller
        )
        _submit(self.engine, request)
        if arrival.cancel_after is not None:
            self._cancels.setdefault(self._step + arrival.cancel_after, []).append(request_id)

    def advance(self, n_steps: int) -> None:
        for _ in range(n_steps):
            for request_id in self._cancels.get(self._step, []):
                self.engine.cancel(request_id)
            self._step += 1
            for output in self.engine.step():
                self.outputs.setdefault(output.request_id, []).append(output)

    def finish(self, max_steps: int = 3_000) -> None:
        while self.engine.has_work:
            self.advance(1)
            assert self._step < max_steps, "somebody starved"


def _assert_answered(arrival: Arrival, outputs: list[RequestOutput], n_ctx: int) -> None:
    """Exactly one end, and the model's own answer up to it."""
    reasons = [output.finish_reason for output in outputs]
    assert [reason for reason in reasons if reason is not None] == reasons[-1:]
    tokens, reason = _expected(arrival.prompt, arrival.max_tokens, n_ctx)
    if reasons[-1] is FinishReason.ABORT:
        assert arrival.cancel_after is not None
        assert _tokens(outputs) == tokens[: len(_tokens(outputs))]
    else:
        assert (_tokens(outputs), reasons[-1]) == (tokens, reason)


_ARRIVALS = st.lists(
    st.builds(
        Arrival,
        delay=st.integers(0, 6),
        prompt=st.builds(
            lambda shared, own: [1 + i % 40 for i in range(shared)] + own,
            st.integers(0, 40),
            st.lists(st.integers(1, 255), min_size=1, max_size=12),
        ),
        max_tokens=st.one_of(st.none(), st.integers(0, 30)),
        cancel_after=st.one_of(st.none(), st.integers(0, 12)),
        caller=st.sampled_from(["", "x", "y"]),
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=400, deadline=None)
@given(
    arrivals=_ARRIVALS,
    n_ctx=st.integers(56, 120),
    n_parallel=st.integers(1, 6),
    n_retained=st.integers(0, 4),
    n_batch=st.integers(6, 48),
    is_cuttable=st.booleans(),
    kv_unified=st.booleans(),
    cache_ram_bytes=st.sampled_from([0, 40, 150, 10_000]),
    wrong_every=st.one_of(st.none(), st.integers(1, 9)),
)
def test_any_traffic_ends_every_request_once_with_its_own_answer(
    arrivals,
    n_ctx,
    n_parallel,
    n_retained,
    n_batch,
    is_cuttable,
    kv_unified,
    cache_ram_bytes,
    wrong_every,
):
    speculation = None
    if wrong_every is not None:
        speculation = Speculation(FakeDrafter(lambda n: n % wrong_every == 0), n_max=8)
    engine, runner = _make_engine(
        n_ctx,
        n_parallel=n_parallel,
        n_slots=n_parallel + n_retained,
        n_batch=n_batch,
        is_cuttable=is_cuttable,
        is_checkpoint_partial=not is_cuttable and kv_unified,
        kv_unified=kv_unified,
        cache_ram_bytes=cache_ram_bytes,
        speculation=speculation,
    )
    traffic = Traffic(engine)
    requests = {f"r{number}": arrival for number, arrival in enumerate(arrivals)}
    for request_id, arrival in requests.items():
        traffic.arrive(request_id, arrival)
    traffic.finish()
    engine.check_idle()
    assert runner.prepared == set()
    assert set(traffic.outputs) == set(requests)
    for request_id, arrival in requests.items():
        _assert_answered(arrival, traffic.outputs[request_id], n_ctx)
