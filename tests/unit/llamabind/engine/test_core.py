"""The engine's policy, over a fake runner that keeps KV as llama.cpp does."""

from __future__ import annotations

import pytest

from llamabind.errors import InvalidParameterError, PromptTooLongError, QueueFullError
from llamabind.request import FinishReason
from tests.support.engine_driver import (
    expected_answer,
    make_engine,
    make_request,
    run,
    submit,
    tokens_of,
)
from tests.support.fake_runner import N_VOCAB, next_token


def test_one_request_gives_the_models_tokens_and_its_counts():
    engine, runner = make_engine()
    submit(engine, make_request("a", [1, 2, 3]))
    outputs = run(engine)["a"]
    assert (tokens_of(outputs), outputs[-1].finish_reason) == expected_answer([1, 2, 3], 5, 64)
    assert outputs[-1].usage.prompt_tokens == 3
    assert outputs[-1].usage.completion_tokens == 5
    assert [output.finish_reason for output in outputs[:-1]] == [None] * 4
    assert runner.prepared == set()


def test_requests_start_and_end_while_others_are_decoding():
    engine, runner = make_engine()
    submit(engine, make_request("a", [1, 2, 3], 8))
    engine.step()
    submit(engine, make_request("b", [7, 8], 3))
    engine.step()
    assert runner.batch_sizes[-1] == 3, "one token of a and two prompt tokens of b share a batch"
    run(engine)
    engine.check_idle()


def test_a_prompt_longer_than_the_batch_is_computed_in_chunks():
    engine, runner = make_engine(n_batch=16)
    prompt = list(range(1, 41))
    submit(engine, make_request("a", prompt, 1))
    outputs = run(engine)["a"]
    assert runner.batch_sizes == [16, 16, 8]
    assert tokens_of(outputs) == [next_token(prompt)]


def test_max_tokens_zero_gives_an_empty_answer_without_computing():
    engine, runner = make_engine()
    submit(engine, make_request("a", [1, 2], 0))
    (output,) = run(engine)["a"]
    assert (output.text, output.finish_reason, output.usage.prompt_tokens) == (
        "",
        FinishReason.LENGTH,
        2,
    )
    assert runner.n_computed == 0


def test_the_context_end_finishes_with_length():
    engine, _ = make_engine(n_ctx=8)
    submit(engine, make_request("a", [1, 2, 3, 4, 5], None))
    outputs = run(engine)["a"]
    assert len(tokens_of(outputs)) == 3
    assert outputs[-1].finish_reason is FinishReason.LENGTH


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers():
    engine, runner = make_engine(n_ctx=8)
    with pytest.raises(PromptTooLongError) as caught:
        engine.prepare(make_request("a", [1] * 8))
    assert (caught.value.n_prompt_tokens, caught.value.n_ctx) == (8, 8)
    assert runner.prepared == set()


@pytest.mark.parametrize("token", [-1, N_VOCAB])
def test_token_ids_outside_the_vocabulary_are_refused(token):
    engine, _ = make_engine()
    with pytest.raises(InvalidParameterError, match="token ids"):
        engine.prepare(make_request("a", [1, token]))


def test_a_second_request_reuses_the_first_ones_prefix():
    engine, runner = make_engine()
    prompt = list(range(1, 31))
    submit(engine, make_request("a", prompt, 2))
    run(engine)
    before = runner.n_computed
    submit(engine, make_request("b", [*prompt, 99, 98], 1))
    outputs = run(engine)["b"]
    assert outputs[-1].usage.cached_tokens == 30
    assert runner.n_computed - before == 2
    assert tokens_of(outputs) == [next_token([*prompt, 99, 98])]


def test_the_same_prompt_again_computes_one_token():
    engine, runner = make_engine()
    prompt = list(range(1, 31))
    submit(engine, make_request("a", prompt, 1))
    run(engine)
    before = runner.n_computed
    submit(engine, make_request("b", prompt, 1))
    assert run(engine)["b"][-1].usage.cached_tokens == 29
    assert runner.n_computed - before == 1


def test_requests_wait_for_a_prefix_that_another_one_is_computing():
    engine, runner = make_engine(n_ctx=256, n_parallel=8, n_slots=16, n_batch=32)
    shared = [(7 * i) % 200 + 1 for i in range(100)]
    submit(engine, *(make_request(f"r{i}", [*shared, 210 + i], 3) for i in range(8)))
    outputs = run(engine)
    for i in range(8):
        assert tokens_of(outputs[f"r{i}"]) == expected_answer([*shared, 210 + i], 3, 256)[0]
    assert runner.n_computed == 100 + 8 * (1 + 2), (
        "the prefix once, then each its own token and two decoded ones"
    )


def test_cancel_ends_a_waiting_or_running_request_and_retains_its_prefix():
    engine, runner = make_engine(n_parallel=1)
    prompt = list(range(1, 31))
    submit(engine, make_request("running", prompt, None), make_request("queued", [5, 6], None))
    engine.step()
    engine.cancel("queued")
    engine.cancel("running")
    outputs = run(engine)
    assert [output.finish_reason for output in outputs["queued"]] == [FinishReason.ABORT]
    assert outputs["running"][-1].finish_reason is FinishReason.ABORT
    before = runner.n_computed
    submit(engine, make_request("again", prompt[:16], 1))
    run(engine)
    assert runner.n_computed - before == 1
    engine.check_idle()


def test_cancelling_an_unknown_id_does_nothing():
    engine, _ = make_engine()
    engine.cancel("nobody")
    assert not engine.has_work


def test_when_cells_run_out_the_youngest_is_preempted_and_all_answers_are_right():
    engine, runner = make_engine(n_ctx=64, n_parallel=4)
    requests = [make_request(f"r{i}", [10 + i] * 4, 40) for i in range(4)]
    submit(engine, *requests)
    outputs = run(engine)
    for i in range(4):
        tokens, reason = expected_answer([10 + i] * 4, 40, 64)
        assert tokens_of(outputs[f"r{i}"]) == tokens
        assert outputs[f"r{i}"][-1].finish_reason is reason
    assert runner.n_cells_used <= 64
    engine.check_idle()


def test_with_a_split_cache_a_shared_prefix_is_copied_and_computed_once():
    engine, runner = make_engine(n_ctx=256, kv_unified=False, n_parallel=4, n_batch=32)
    shared = [(7 * i) % 200 + 1 for i in range(100)]
    submit(engine, *(make_request(f"r{i}", [*shared, 210 + i], 3) for i in range(4)))
    outputs = run(engine)
    for i in range(4):
        assert tokens_of(outputs[f"r{i}"]) == expected_answer([*shared, 210 + i], 3, 256)[0]
    assert runner.n_computed == 100 + 4 * (1 + 2)
    engine.check_idle()


def test_with_a_split_cache_a_short_prefix_is_not_copied():
    engine, runner = make_engine(n_ctx=256, kv_unified=False, n_parallel=4, n_batch=32)
    submit(engine, *(make_request(f"r{i}", [*range(1, 11), 210 + i], 1) for i in range(4)))
    outputs = run(engine)
    assert [outputs[f"r{i}"][-1].usage.cached_tokens for i in range(4)] == [0] * 4
    assert runner.n_computed == 4 * 11


def test_many_requests_of_one_caller_do_not_delay_the_only_one_of_another():
    engine, _ = make_engine(n_parallel=1, n_slots=2)
    submit(engine, *(make_request(f"many{i}", [20 + i], 1, caller="greedy") for i in range(10)))
    submit(engine, make_request("single", [9], 1, caller="modest"))
    order = list(run(engine))
    assert order.index("single") <= 1


def test_lower_priority_values_start_first():
    engine, _ = make_engine(n_parallel=1, n_slots=2)
    submit(engine, *(make_request(f"late{i}", [20 + i], 1, priority=1) for i in range(3)))
    submit(engine, make_request("urgent", [9], 1, priority=-1))
    assert next(iter(run(engine))) == "urgent"


def test_a_request_that_exceeds_max_queue_seconds_ends_with_an_error():
    now = [0.0]
    engine, _ = make_engine(n_parallel=1, clock=lambda: now[0])
    submit(engine, make_request("runs", [1], None))
    submit(engine, make_request("waits", [2], None, max_queue_seconds=10))
    engine.step()
    now[0] = 10.5
    outputs = run(engine)
    assert outputs["waits"][-1].error == "timed out after 10 s in the queue (max_queue_seconds)"
    assert outputs["waits"][-1].finish_reason is FinishReason.ERROR
    assert outputs["runs"][-1].finish_reason is not FinishReason.ERROR


def test_a_full_queue_refuses_with_both_numbers():
    engine, _ = make_engine(n_parallel=1, max_waiting=2)
    submit(engine, make_request("a", [1]), make_request("b", [2]))
    with pytest.raises(QueueFullError) as caught:
        engine.prepare(make_request("c", [3]))
    assert (caught.value.n_waiting, caught.value.limit) == (2, 2)
    engine.step()
    engine.prepare(make_request("c", [3]))


def test_a_batch_that_finds_no_free_cells_evicts_prefixes_but_fails_no_request():
    engine, runner = make_engine()
    submit(engine, make_request("a", [1, 2, 3], 4), make_request("b", [4, 5, 6], 4))
    engine.step()
    runner.refuse_next = True
    outputs = run(engine)
    assert outputs["a"][-1].finish_reason is not FinishReason.ERROR
    assert outputs["b"][-1].finish_reason is not FinishReason.ERROR
    engine.check_idle()


def test_fail_all_ends_every_live_request():
    engine, runner = make_engine(n_parallel=1)
    submit(engine, make_request("a", [1], None), make_request("b", [2], None))
    engine.step()
    outputs = engine.fail_all("the worker broke")
    assert {output.request_id: output.error for output in outputs} == {
        "a": "the worker broke",
        "b": "the worker broke",
    }
    assert runner.prepared == set()


def test_stats_count_steps_tokens_and_cells():
    engine, _ = make_engine()
    submit(engine, make_request("a", list(range(1, 31)), 2))
    run(engine)
    submit(engine, make_request("b", list(range(1, 31)), 2))
    run(engine)
    stats = engine.stats
    assert (stats.running, stats.waiting) == (0, 0)
    assert stats.prompt_tokens == 30 + 1
    assert stats.generated_tokens == 4
    assert stats.cached_tokens == 29
    assert stats.cells_used > 0
