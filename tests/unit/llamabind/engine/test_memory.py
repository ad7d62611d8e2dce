"""Host cache and checkpoints in the engine, over a fake runner that detects every misuse of KV."""

from __future__ import annotations

import pytest

from llamabind.engine.core import EngineCore
from tests.support.engine_driver import (
    expected_answer,
    make_engine,
    make_request,
    run,
    submit,
    tokens_of,
)
from tests.support.fake_runner import FakeRunner

UNCUT = {"is_cuttable": False, "cache_ram_bytes": 10_000}
KINDS = pytest.mark.parametrize(
    "kind",
    [
        {"cache_ram_bytes": 10_000},
        {"cache_ram_bytes": 10_000, "kv_unified": False},
        {**UNCUT, "is_checkpoint_partial": True},
        UNCUT,
        {**UNCUT, "kv_unified": False},
    ],
    ids=["unified", "split", "partial checkpoints", "whole checkpoints", "uncut split"],
)


def _prompt(seed: int, n: int) -> list[int]:
    return [1 + (seed * 37 + i * (seed + 3)) % 250 for i in range(n)]


def _ask(engine: EngineCore, prompt: list[int], max_tokens: int = 3) -> tuple[list[int], int]:
    """Return the answer, which must be right, and how many tokens were cached."""
    submit(engine, make_request("a", prompt, max_tokens))
    outputs = run(engine)["a"]
    assert tokens_of(outputs) == expected_answer(prompt, max_tokens, engine.shape.n_ctx)[0]
    return tokens_of(outputs), outputs[-1].usage.cached_tokens


def _n_restored(runner: FakeRunner, engine: EngineCore, prompt: list[int]) -> int:
    before = runner.n_computed
    _ask(engine, prompt, 1)
    return len(prompt) - (runner.n_computed - before)


@KINDS
def test_an_evicted_conversation_is_restored(kind):
    engine, runner = make_engine(128, n_parallel=1, n_slots=1, **kind)
    answer, _ = _ask(engine, _prompt(1, 60))
    for seed in range(2, 5):
        _ask(engine, _prompt(seed, 60))
    follow_up = [*_prompt(1, 60), *answer, 9, 9]
    assert _n_restored(runner, engine, follow_up) == 60 + len(answer) - 1


@KINDS
def test_cached_tokens_count_restored_tokens(kind):
    engine, _ = make_engine(128, n_parallel=1, n_slots=1, **kind)
    answer, cached = _ask(engine, _prompt(1, 60))
    assert cached == 0
    _ask(engine, _prompt(2, 60))
    _, cached = _ask(engine, [*_prompt(1, 60), *answer, 9])
    assert cached == 60 + len(answer) - 1


@KINDS
def test_requests_that_share_a_prefix_compute_it_once(kind):
    engine, runner = make_engine(512, n_batch=32, **kind)
    shared = _prompt(1, 100)
    submit(engine, *(make_request(f"r{i}", [*shared, 210 + i], 3) for i in range(4)))
    outputs = run(engine)
    for i in range(4):
        assert tokens_of(outputs[f"r{i}"]) == expected_answer([*shared, 210 + i], 3, 512)[0]
    assert runner.n_computed == 100 + 4 * (1 + 2)


@KINDS
def test_a_third_request_reuses_the_prefix_that_the_first_two_share(kind):
    engine, _ = make_engine(256, n_parallel=2, n_slots=2, **kind)
    shared = _prompt(1, 80)
    for own in (250, 251):
        _ask(engine, [*shared, *[own] * 20])
    assert _ask(engine, [*shared, *[252] * 20])[1] == 80


@KINDS
def test_preempted_requests_are_not_computed_again(kind):
    engine, runner = make_engine(120, n_parallel=4, n_slots=4, n_batch=64, **kind)
    prompts = {f"r{i}": _prompt(i, 40) for i in range(4)}
    submit(engine, *(make_request(name, prompt, 40) for name, prompt in prompts.items()))
    outputs = run(engine)
    n_generated = 0
    for name, prompt in prompts.items():
        answer = expected_answer(prompt, 40, 120)[0]
        assert tokens_of(outputs[name]) == answer
        n_generated += len(answer)
    # The last token of each answer is never computed.
    assert runner.n_computed == 4 * 40 + n_generated - 4


@KINDS
def test_two_conversations_alternate_on_one_sequence_id(kind):
    engine, runner = make_engine(256, n_parallel=1, n_slots=1, **kind)
    shared = _prompt(1, 50)
    talks = [[*shared, *_prompt(2, 40)], [*shared, *_prompt(3, 40)]]
    for talk in talks:
        talk += _ask(engine, talk)[0]
    for _ in range(3):
        for talk in talks:
            talk += _prompt(4, 8)
            before = runner.n_computed
            answer, cached = _ask(engine, talk)
            assert cached == len(talk) - 9, (
                "all but what is new and one token that was not computed"
            )
            assert runner.n_computed - before == 9 + len(answer) - 1
            talk += answer


@KINDS
def test_a_state_that_cannot_be_saved_is_recomputed(kind):
    engine, runner = make_engine(128, n_parallel=1, n_slots=1, **kind)
    runner.refuse_saves = True
    cached = None
    for seed in (1, 2, 1):
        _, cached = _ask(engine, _prompt(seed, 60))
    assert cached == 0
    assert engine.stats.cache_ram_bytes == 0


@KINDS
def test_a_refused_batch_drops_the_states_of_its_step(kind):
    engine, runner = make_engine(128, n_parallel=2, n_slots=2, **kind)
    _ask(engine, _prompt(1, 60))
    submit(engine, make_request("b", _prompt(2, 60), 3))
    runner.refuse_next = True
    outputs = run(engine)["b"]
    assert tokens_of(outputs) == expected_answer(_prompt(2, 60), 3, 128)[0]
    _ask(engine, _prompt(3, 60))
    assert len(runner.states) <= 4, "every state that the runner holds is in the index"


@KINDS
@pytest.mark.parametrize("limit", [40, 100, 200])
def test_host_memory_is_never_more_than_its_limit(kind, limit):
    engine, runner = make_engine(128, n_parallel=1, n_slots=1, **{**kind, "cache_ram_bytes": limit})
    for seed in range(8):
        _ask(engine, _prompt(seed, 50))
        assert engine.stats.cache_ram_bytes <= limit
    _ask(engine, _prompt(9, 3))
    held = sum(len(read) for _, _, read in runner.states.values())
    assert held <= limit + 64, "what the last step dropped is freed in the next"


def test_without_host_memory_an_uncuttable_sequence_can_still_be_continued():
    engine, _ = make_engine(128, is_cuttable=False)
    answer, _ = _ask(engine, _prompt(1, 60))
    assert _ask(engine, [*_prompt(1, 60), *answer, 9])[1] == 60 + len(answer) - 1
    assert _ask(engine, _prompt(1, 60))[1] == 0


def test_a_state_too_large_to_restore_beside_running_sequences_is_not_waited_for():
    engine, _ = make_engine(128, n_parallel=2, n_slots=2, cache_ram_bytes=10_000)
    for seed in range(1, 4):
        _ask(engine, _prompt(seed, 90))
    submit(engine, make_request("runs", _prompt(4, 50), 40))
    for _ in range(4):
        engine.step()
    # More cells to restore than are free, but enough for what it needs.
    branch = [*_prompt(1, 33), 7]
    submit(engine, make_request("joins", branch, 1))
    outputs = run(engine)
    assert outputs["joins"][-1].usage.cached_tokens == 0
    assert tokens_of(outputs["joins"]) == expected_answer(branch, 1, 128)[0]
