"""Fairness: how many requests may start before a waiting one; how long prompts delay decoding."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from llamabind.scheduling.sequence import Sequence
from tests.support.engine_driver import make_engine, make_request, run, submit

CALLERS = "abc"


@pytest.fixture
def started(monkeypatch) -> list[str]:
    """The ids of requests in the order in which they get their first slot."""
    order: list[str] = []
    start = Sequence.start

    def recording(self: Sequence, *arguments: Any) -> None:
        if not self.has_started:
            order.append(self.request_id)
        start(self, *arguments)

    monkeypatch.setattr(Sequence, "start", recording)
    return order


@pytest.mark.parametrize("seed", range(200))
def test_at_most_one_request_of_each_other_caller_starts_before_a_callers_only_one(seed, started):
    """Prompts have nothing in common, so no request waits for the prefix of another."""
    random = Random(seed)
    engine, _ = make_engine(n_ctx=64, n_parallel=random.randint(1, 3), n_batch=16)
    waiting: dict[str, list[str]] = {caller: [] for caller in CALLERS}
    passed_by: dict[str, list[str]] = {}
    n_arrived = 0
    while n_arrived < 20 or engine.has_work:
        while n_arrived < 20 and random.random() < 0.6:
            caller = random.choice("aaaabc")
            n_arrived += 1
            request_id = f"{caller}{n_arrived}"
            if not waiting[caller]:
                passed_by[request_id] = []
            waiting[caller].append(request_id)
            prompt = [n_arrived, *(random.randint(1, 255) for _ in range(random.randint(1, 12)))]
            submit(engine, make_request(request_id, prompt, random.randint(1, 6), caller=caller))
        engine.step()
        for request_id in started:
            caller = request_id[0]
            waiting[caller].remove(request_id)
            callers = passed_by.pop(request_id, [])
            assert len(callers) == len(set(callers)), f"{request_id} was passed by {callers}"
            for passed in passed_by.values():
                passed.append(caller)
        started.clear()
    assert not any(waiting.values())


def test_between_two_tokens_of_a_decoding_sequence_a_long_prompt_computes_a_bounded_part():
    seconds = 0.0
    engine, runner = make_engine(n_ctx=2048, n_parallel=2, n_batch=512, clock=lambda: seconds)
    compute = runner.run

    def run_slowly(plan):
        nonlocal seconds
        seconds += 0.01 + 0.002 * plan.n_tokens
        return compute(plan)

    runner.run = run_slowly  # type: ignore[method-assign]
    runner.model = lambda tokens: 65
    submit(engine, make_request("decoding", [1, 2, 3], 400))
    for _ in range(20):
        engine.step()
    submit(engine, make_request("long", [1 + i % 200 for i in range(1000)], 1))
    at, n_prompt, gaps = seconds, engine.stats.prompt_tokens, []
    while engine.has_work:
        outputs = engine.step()
        if any(output.request_id == "decoding" and output.token_ids for output in outputs):
            gaps.append((seconds - at, engine.stats.prompt_tokens - n_prompt))
            at, n_prompt = seconds, engine.stats.prompt_tokens
        if any(output.request_id == "long" for output in outputs):
            break
    assert len(gaps) >= 5
    # The longest allowed gap, 0.5 seconds, is 245 tokens.
    assert max(n for _, n in gaps) <= 245 + 16
    assert max(gap for gap, _ in gaps) <= 0.55
    run(engine)
