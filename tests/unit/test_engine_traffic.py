"""Random traffic on an engine over a runner that notices every misuse of its memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from engine_driver import expected_answer, make_engine, make_request, submit, tokens_of
from fake_drafter import FakeDrafter
from hypothesis import given, settings
from hypothesis import strategies as st

from llamabind import checkpoints, scheduler, slots, stream_slots
from llamabind.engine_core import EngineCore
from llamabind.request import FinishReason, RequestOutput
from llamabind.speculation import Speculation


@pytest.fixture(scope="module", autouse=True)
def _short_is_long_enough() -> Iterator[None]:
    """Prompts here are short: they are worth saving, sharing and waiting for all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "SPACING", 16)
        patch.setattr(checkpoints, "MIN_SPACING", 4)
        patch.setattr(scheduler, "MIN_SHARED_PREFIX", 4)
        patch.setattr(slots, "MIN_SAVED", 4)
        patch.setattr(stream_slots, "MIN_COPIED_PREFIX", 4)
        yield


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
        request = make_request(
            request_id, arrival.prompt, arrival.max_tokens, caller=arrival.caller
        )
        submit(self.engine, request)
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
    tokens, reason = expected_answer(arrival.prompt, arrival.max_tokens, n_ctx)
    if reasons[-1] is FinishReason.ABORT:
        assert arrival.cancel_after is not None
        assert tokens_of(outputs) == tokens[: len(tokens_of(outputs))]
    else:
        assert (tokens_of(outputs), reasons[-1]) == (tokens, reason)


_ARRIVALS = st.lists(
    st.builds(
        Arrival,
        delay=st.integers(0, 6),
        prompt=st.builds(
            lambda shared, own: [1 + i % 40 for i in range(shared)] + own,
            st.integers(0, 40),
            st.lists(st.integers(1, 255), min_size=1, max_size=12),
        ),
        max_tokens=st.one_of(st.none(), st.integers(0, 20)),
        cancel_after=st.one_of(st.none(), st.integers(0, 12)),
        caller=st.sampled_from(["", "x", "y"]),
    ),
    min_size=1,
    max_size=10,
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
    is_checkpoint_partial=st.booleans(),
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
    is_checkpoint_partial,
    wrong_every,
):
    speculation = None
    if wrong_every is not None:
        speculation = Speculation(FakeDrafter(lambda n: n % wrong_every == 0), n_max=8)
    engine, runner = make_engine(
        n_ctx,
        n_parallel=n_parallel,
        n_slots=n_parallel + n_retained,
        n_batch=n_batch,
        is_cuttable=is_cuttable,
        is_checkpoint_partial=is_checkpoint_partial and kv_unified,
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
