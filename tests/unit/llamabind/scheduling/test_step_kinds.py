"""Which chunks share a step: prompts and decoding sequences, short prompts and long ones."""

from __future__ import annotations

import itertools

import pytest

from llamabind.engine.core import EngineCore
from llamabind.scheduling.step_budget import share_budget
from llamabind.scheduling.step_plan import StepPlan
from tests.support.engine_driver import (
    expected_answer,
    make_engine,
    make_request,
    run,
    submit,
    tokens_of,
)
from tests.support.fake_runner import FakeRunner

TILE = 6


def _watch(runner: FakeRunner) -> list[tuple[int, int]]:
    """The (decoding sequences, prompt tokens) of each step from now on."""
    steps: list[tuple[int, int]] = []
    original = runner.run

    def recording(plan: StepPlan):
        n_decoding = plan.n_decoding
        steps.append((n_decoding, plan.n_tokens - n_decoding))
        return original(plan)

    runner.run = recording  # type: ignore[method-assign]
    return steps


def _words(seed: int, n: int) -> list[int]:
    return [1 + (seed * 37 + i * i) % 250 for i in range(n)]


def _step_until_first_token(engine: EngineCore) -> None:
    while not any(output.token_ids for output in engine.step()):
        pass


def test_with_tiles_prompt_steps_and_decode_steps_alternate():
    engine, runner = make_engine(200, n_batch=32, attention_tile=TILE)
    decoding = make_request("decoding", _words(1, 4), max_tokens=40)
    submit(engine, decoding)
    _step_until_first_token(engine)
    steps = _watch(runner)
    prompt = make_request("prompt", _words(2, 90), max_tokens=1)
    submit(engine, prompt)
    outputs = run(engine)
    for n_decoding, n_prompt in steps:
        assert n_decoding == 0 or n_decoding + n_prompt < TILE
    # While the prompt lasts, there are never two steps in a row without the decoding sequence.
    with_prompt = steps[: max(i for i, (_, n_prompt) in enumerate(steps) if n_prompt > 1) + 1]
    assert len(with_prompt) >= 4
    assert all(a[0] or b[0] for a, b in itertools.pairwise(with_prompt))
    assert tokens_of(outputs["prompt"]) == expected_answer(list(prompt.prompt_tokens), 1, 200)[0]


def test_a_prompt_smaller_than_a_tile_shares_a_step_with_decoding_sequences():
    engine, runner = make_engine(200, n_batch=32, attention_tile=TILE)
    submit(engine, make_request("decoding", _words(1, 4), max_tokens=20))
    _step_until_first_token(engine)
    steps = _watch(runner)
    submit(engine, make_request("prompt", _words(2, TILE - 2), max_tokens=1))
    engine.step()
    assert steps == [(1, TILE - 2)]


def test_split_kv_never_mixes_prefill_and_decode_in_a_step():
    engine, runner = make_engine(400, n_batch=32, attention_tile=TILE, kv_unified=False)
    submit(engine, make_request("decoding", _words(1, 4), max_tokens=40))
    _step_until_first_token(engine)
    steps = _watch(runner)
    prompts = [make_request(f"r{i}", _words(2 + i, 20 + i), max_tokens=3) for i in range(2)]
    submit(engine, *prompts)
    outputs = run(engine)
    assert all(n_decoding == 0 or n_prompt == 0 for n_decoding, n_prompt in steps)
    assert sum(n_prompt for _, n_prompt in steps) == 41
    for prompt in prompts:
        answer = expected_answer(list(prompt.prompt_tokens), 3, 100)[0]
        assert tokens_of(outputs[prompt.request_id]) == answer


def test_more_decoding_sequences_than_fit_a_step_get_tokens_in_turn():
    n = 2 * TILE
    engine, runner = make_engine(
        400, n_batch=32, n_parallel=n, n_slots=n, attention_tile=TILE, cache_ram_bytes=0
    )
    requests = [make_request(f"r{i}", _words(i, 4), max_tokens=8) for i in range(n)]
    submit(engine, *requests)
    counts = dict.fromkeys((request.request_id for request in requests), 0)
    steps = _watch(runner)
    ended: set[str] = set()
    while engine.has_work:
        for output in engine.step():
            counts[output.request_id] += len(output.token_ids)
            if output.finish_reason:
                ended.add(output.request_id)
        decoding = [counts[name] for name in counts if counts[name] and name not in ended]
        assert max(decoding, default=0) - min(decoding, default=0) <= 3
    assert all(n_decoding < TILE for n_decoding, _ in steps)
    for request in requests:
        expected, _ = expected_answer(list(request.prompt_tokens), 8, 400)
        assert counts[request.request_id] == len(expected)


def test_with_own_tiles_all_decoding_sequences_share_steps_with_each_other_and_with_prompts():
    n = 3 * TILE
    engine, runner = make_engine(
        800, n_batch=64, n_parallel=n + 1, n_slots=n + 1, attention_tile=TILE, has_own_tiles=True
    )
    requests = [make_request(f"r{i}", _words(i, 4), max_tokens=30) for i in range(n)]
    submit(engine, *requests)
    for _ in range(4):
        engine.step()
    steps = _watch(runner)
    submit(engine, make_request("prompt", _words(50, 90), max_tokens=1))
    outputs = run(engine)
    assert steps[0][0] == n
    with_prompt = [step for step in steps if step[1]]
    assert with_prompt
    assert all(n_decoding > 0 for n_decoding, _ in with_prompt)
    answer = expected_answer(_words(50, 90), 1, 800)[0]
    assert tokens_of(outputs["prompt"]) == answer


def test_a_short_prompt_ends_while_an_older_long_one_continues():
    engine, _ = make_engine(400, n_batch=16)
    submit(
        engine,
        make_request("long", _words(1, 200), max_tokens=1),
        make_request("short", _words(2, 12), max_tokens=1),
    )
    done: dict[str, int] = {}
    n_steps = 0
    while engine.has_work:
        n_steps += 1
        done |= {output.request_id: n_steps for output in engine.step() if output.token_ids}
    assert done["short"] == 2
    # The long one had half of every step.
    assert done["long"] <= 200 // 16 + 3


@pytest.mark.parametrize("kv_unified", [True, False], ids=["unified", "split"])
def test_a_short_prompt_does_not_wait_for_a_long_one_if_steps_are_one_tile(kv_unified: bool):
    n_ctx = 400 if kv_unified else 1600
    engine, _ = make_engine(n_ctx, n_batch=TILE + 2, attention_tile=TILE, kv_unified=kv_unified)
    submit(
        engine,
        make_request("long", _words(1, 200), max_tokens=1),
        make_request("short", _words(2, TILE), max_tokens=1),
    )
    n_steps = 0
    while not any(output.request_id == "short" and output.token_ids for output in engine.step()):
        n_steps += 1
    assert n_steps <= 4


def test_prompts_of_equal_length_are_computed_one_after_the_other():
    engine, _ = make_engine(400, n_batch=16)
    requests = [make_request(f"r{i}", _words(i, 40), max_tokens=1) for i in range(3)]
    submit(engine, *requests)
    engine.step()
    sequences = engine._live.values()
    assert [sequence.n_computed for sequence in sequences] == [16, 0, 0]
    shares = share_budget(16, list(sequences))
    # The first needs fewer tokens than the others, so it gets the whole budget.
    assert shares[0] == (next(iter(sequences)), 16)
