"""Probabilities after the samplers, as llama-server's post_sampling_probs."""

import math

import pytest

from llamabind.sampling.params import SamplingParams
from tests.support.engine_runs import make_request, run, tiny_engine, tokens_of

pytestmark = pytest.mark.native


def _entries(**sampling):
    with tiny_engine(n_ctx=256) as engine:
        prompt = engine.tokenizer.encode("Hello, my name is")
        request = make_request(
            "a",
            prompt,
            8,
            sampling=SamplingParams(seed=5, **sampling),
            logprobs=10,
            post_sampling_probs=True,
        )
        outputs = run(engine, request)["a"]
    entries = [entry for output in outputs for entry in output.logprobs]
    assert [entry.token for entry in entries] == tokens_of(outputs)
    return entries


def test_top_k_leaves_k_tokens_whose_probabilities_add_up_to_one():
    for entry in _entries(top_k=3, top_p=1.0, min_p=0.0, temperature=1.0):
        values = [math.exp(value) for _, value in entry.top]
        assert len(values) == 3
        assert sum(values) == pytest.approx(1.0)
        assert values == sorted(values, reverse=True)
        # The chosen token is one of those that are left.
        assert entry.token in [token for token, _ in entry.top]


def test_a_greedy_choice_is_certain():
    for entry in _entries(temperature=0.0, top_k=40):
        assert entry.top[0] == (entry.token, pytest.approx(0.0))
        assert len(entry.top) == 1


def test_penalties_of_generated_tokens_are_counted():
    sampling = {"top_k": 1, "temperature": 1.0, "samplers": ("penalties", "top_k")}
    entries = _entries(**sampling, repeat_penalty=5.0, repeat_last_n=64)
    # The one token that is left is the one that the samplers chose, so both count alike.
    assert all(entry.top == ((entry.token, pytest.approx(0.0)),) for entry in entries)
