"""Context shift: a full context drops older tokens and the answer goes on."""

import pytest

from llamabind.request import FinishReason
from tests.support.engine_driver import (
    expected_answer,
    make_engine,
    make_request,
    run,
    submit,
    tokens_of,
)
from tests.support.fake_runner import EOG

PROMPT = [1, 2, 3, 4, 5, 6]
KINDS = [{}, {"kv_unified": False}, {"is_cuttable": False, "cache_ram_bytes": 1 << 20}]


def _never_ends(tokens: list[int]) -> int:
    return 1 + sum(tokens) % 200


@pytest.mark.parametrize("fields", KINDS)
@pytest.mark.parametrize("n_keep", [0, 3, -1])
def test_a_full_context_drops_half_of_what_follows_the_kept_tokens(fields: dict, n_keep: int):
    engine, _ = make_engine(n_ctx=16, context_shift=True, **fields)
    submit(engine, make_request("a", PROMPT, 60, n_keep=n_keep))
    outputs = run(engine)["a"]
    expected = expected_answer(PROMPT, 60, 16, context_shift=True, n_keep=n_keep)
    assert (tokens_of(outputs), outputs[-1].finish_reason) == expected
    assert outputs[-1].truncated
    usage = outputs[-1].usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (6, len(expected[0]))


def test_n_discard_tokens_are_dropped_at_once():
    engine, runner = make_engine(n_ctx=16, context_shift=True)
    runner.model = _never_ends
    submit(engine, make_request("a", PROMPT, 30, n_keep=2, n_discard=1))
    outputs = run(engine)["a"]
    context = list(PROMPT)
    for token in tokens_of(outputs):
        if len(context) >= 16:
            del context[2:3]
        assert token == _never_ends(context)
        context.append(token)
    assert len(tokens_of(outputs)) == 30


def test_without_the_setting_a_full_context_ends_the_answer_as_truncated():
    engine, runner = make_engine(n_ctx=16)
    runner.model = _never_ends
    submit(engine, make_request("a", PROMPT, None, n_keep=3), make_request("b", PROMPT, 4))
    outputs = run(engine)
    assert outputs["a"][-1].finish_reason is FinishReason.LENGTH
    assert outputs["a"][-1].truncated
    assert len(tokens_of(outputs["a"])) == 10
    assert not outputs["b"][-1].truncated


def test_without_max_tokens_the_answer_goes_on_until_the_model_ends_it():
    engine, runner = make_engine(n_ctx=16, context_shift=True)
    n_computed = iter(range(200))
    runner.model = lambda tokens: EOG if next(n_computed) == 100 else _never_ends(tokens)
    submit(engine, make_request("a", PROMPT, None))
    outputs = run(engine)["a"]
    assert outputs[-1].finish_reason is FinishReason.STOP
    assert len(tokens_of(outputs)) == 101


def test_a_shift_beside_others_changes_no_answer():
    engine, _ = make_engine(n_ctx=24, context_shift=True)
    prompts = {name: [*PROMPT, ord(name)] for name in "abcd"}
    submit(engine, *(make_request(name, prompt, 50) for name, prompt in prompts.items()))
    outputs = run(engine)
    for name, prompt in prompts.items():
        expected, _ = expected_answer(prompt, 50, 24, context_shift=True)
        assert tokens_of(outputs[name]) == expected
