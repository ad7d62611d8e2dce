"""Sampler: every parameter has its effect, seeds repeat, and bad grammars are exceptions."""

import math
from typing import Any

import numpy as np
import pytest

from llamabind.context.batch import Batch
from llamabind.context.context import Context
from llamabind.errors import GrammarError, InvalidParameterError, TokenizeError
from llamabind.native.model import Model
from llamabind.sampling.params import SAMPLER_NAMES, GrammarTrigger, SamplingParams
from llamabind.sampling.sampler import Sampler, sample_many

pytestmark = pytest.mark.native

YES_OR_NO = 'root ::= "yes" | "no"'


@pytest.fixture
def ready(context: Context) -> Context:
    """A context with logits for its last token."""
    batch = Batch(8)
    batch.extend([1, 450, 4996, 17354], 0, 0, output_last=True)
    context.decode(batch)
    return context


def _sample(model: Model, context: Context, n: int = 1, **values: Any) -> list[int]:
    with Sampler(model, SamplingParams(**values)) as sampler:
        return [sampler.sample(context) for _ in range(n)]


def _best(context: Context, n: int) -> list[int]:
    return np.argsort(-context.logits(-1), kind="stable")[:n].tolist()


def test_temperature_zero_takes_the_most_likely_token(random_llama, ready):
    assert _sample(random_llama, ready, 3, temperature=0) == _best(ready, 1) * 3
    assert _sample(random_llama, ready, temperature=1e-20) == _best(ready, 1)


@pytest.mark.parametrize(
    "values",
    [
        {"samplers": ("temperature", "top_k")},
        {"samplers": ("top_k", "penalties", "temperature"), "top_k": 1, "repeat_penalty": 1.5},
        {"typical_p": 0.5, "top_k": 1},
        {"xtc_probability": 1.0, "top_k": 1},
        {"samplers": ("temperature",)},
        {"mirostat": 1},
        {"mirostat": 2},
    ],
)
def test_temperature_zero_is_greedy_in_other_orders_too(random_llama, ready, values):
    assert _sample(random_llama, ready, temperature=0, **values) == _best(ready, 1)


def test_a_dynamic_temperature_above_zero_draws(random_llama, ready):
    wide = {"temperature": 0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": 1}
    drawn = set(_sample(random_llama, ready, 30, dynatemp_range=5.0, **wide))
    assert len(drawn) > 5
    assert _sample(random_llama, ready, 3, dynatemp_range=-5.0, **wide) == _best(ready, 1) * 3


def test_an_equal_seed_repeats_and_another_does_not(random_llama, ready):
    hot = {"temperature": 5.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    first = _sample(random_llama, ready, 20, seed=7, **hot)
    assert _sample(random_llama, ready, 20, seed=7, **hot) == first
    assert _sample(random_llama, ready, 20, seed=8, **hot) != first
    assert _sample(random_llama, ready, 20, **hot) != _sample(random_llama, ready, 20, **hot)


@pytest.mark.parametrize(
    ("values", "n_candidates"),
    [({"top_k": 3}, 3), ({"top_p": 0.0}, 1), ({"min_p": 1.0}, 1), ({"top_n_sigma": 0.0001}, 1)],
)
def test_truncating_samplers_leave_only_the_best(random_llama, ready, values, n_candidates):
    others = {"temperature": 10.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    drawn = set(_sample(random_llama, ready, 60, seed=1, **(others | values)))
    assert drawn <= set(_best(ready, n_candidates))
    assert len(drawn) == n_candidates


def test_min_keep_keeps_more(random_llama, ready):
    drawn = set(
        _sample(random_llama, ready, 80, seed=1, temperature=10.0, top_k=0, top_p=0.0, min_keep=4)
    )
    assert len(drawn) == 4


def test_a_repeated_token_becomes_unlikely(random_llama, ready):
    best, second = _best(ready, 2)
    with Sampler(random_llama, SamplingParams(temperature=0, presence_penalty=50.0)) as sampler:
        assert sampler.sample(ready) == best
        assert sampler.sample(ready) == second
        sampler.reset()
        assert sampler.sample(ready) == best


def test_prompt_tokens_count_for_penalties(random_llama, ready):
    best, second = _best(ready, 2)
    with Sampler(random_llama, SamplingParams(temperature=0, frequency_penalty=50.0)) as sampler:
        sampler.accept(best, is_generated=False)
        assert sampler.sample(ready, accept=False) == second
        assert sampler.sample(ready, accept=False) == second


def test_dry_stops_a_loop(random_llama, ready):
    best = _best(ready, 1)[0]
    params = SamplingParams(temperature=0, dry_multiplier=100.0, dry_allowed_length=1)
    with Sampler(random_llama, params) as sampler:
        for _ in range(4):
            sampler.accept(best)
        assert sampler.sample(ready) != best


def test_logit_bias_forces_and_bans(random_llama, ready):
    best, second = _best(ready, 2)
    assert _sample(random_llama, ready, temperature=0, logit_bias=((1234, 1000.0),)) == [1234]
    assert _sample(random_llama, ready, temperature=0, logit_bias=((best, -math.inf),)) == [second]
    with pytest.raises(InvalidParameterError, match=r"token 32000 is not in 0\.\.31999"):
        Sampler(random_llama, SamplingParams(logit_bias=((32_000, 1.0),)))


def test_ignore_eos_never_ends(random_llama, ready):
    wants_end: dict[str, Any] = {"temperature": 0, "logit_bias": ((2, 1000.0),)}
    assert _sample(random_llama, ready, **wants_end) == [2]
    assert _sample(random_llama, ready, ignore_eos=True, **wants_end) == _best(ready, 1)


@pytest.mark.parametrize(
    "values",
    [
        *({"samplers": (name,)} for name in SAMPLER_NAMES if name != "infill"),
        {"samplers": ("top_k", "infill"), "top_k": 256},
        {"samplers": SAMPLER_NAMES, "adaptive_target": 0.3, "xtc_probability": 0.5},
        {"samplers": ()},
        {"mirostat": 1},
        {"mirostat": 2, "mirostat_tau": 0.1},
        {"dynatemp_range": 0.5, "dynatemp_exponent": 2.0},
        {"typical_p": 0.3},
        # These would be gigabytes, natively.
        {"repeat_last_n": 2**31 - 1, "repeat_penalty": 1.1},
        {"dry_penalty_last_n": 2**31 - 1, "dry_multiplier": 1.0},
        {"dry_sequence_breakers": (), "dry_multiplier": 1.0},
        {"min_keep": 2**31 - 1},
        {"top_k": 2**31 - 1},
        {"temperature": 3e38},
        {"temperature": 1e-7, "samplers": ("temperature", "dry", "penalties")},
        {"repeat_penalty": 1e38, "presence_penalty": -3e38, "frequency_penalty": 3e38},
        {"dry_multiplier": 3e38, "dry_base": 3e38},
        {"mirostat": 1, "mirostat_tau": 3e38, "mirostat_eta": -3e38},
        {"mirostat": 2, "mirostat_tau": -3e38, "mirostat_eta": 3e38},
        {"dynatemp_range": 3e38, "dynatemp_exponent": -3e38},
        {"adaptive_target": 1.0, "adaptive_decay": 0.0, "samplers": ("adaptive_p",)},
        {"logit_bias": tuple((token, 3e38) for token in range(50))},
    ],
)
def test_every_sampler_and_every_extreme_value_gives_some_token(random_llama, ready, values):
    for token in _sample(random_llama, ready, 4, seed=1, **values):
        assert 0 <= token < 32_000


def test_a_clone_goes_its_own_way_from_the_same_state(random_llama, ready):
    hot = SamplingParams(temperature=5.0, top_k=0, top_p=1.0, min_p=0.0, seed=3)
    with Sampler(random_llama, hot) as sampler:
        sampler.sample(ready)
        with sampler.clone() as twin:
            expected = [sampler.sample(ready) for _ in range(10)]
            assert [twin.sample(ready) for _ in range(10)] == expected
        assert sampler.sample(ready) >= 0


def test_many_samplers_draw_in_one_call(random_llama, ready):
    best = _best(ready, 1)[0]
    samplers = [Sampler(random_llama, SamplingParams(temperature=0)) for _ in range(5)]
    pointers = [ready.logits_ptr(-1)] * 5
    assert sample_many(samplers, pointers) == [best] * 5
    assert sample_many(samplers, pointers, n_threads=2, accept=False) == [best] * 5
    assert sample_many([], []) == []
    for sampler in samplers:
        sampler.close()


def _text(model: Model, context: Context, params: SamplingParams, n: int = 8) -> str:
    with Sampler(model, params) as sampler:
        tokens = []
        for _ in range(n):
            tokens.append(sampler.sample(context))
            if model.tokenizer.is_eog(tokens[-1]):
                break
        return b"".join(map(model.tokenizer.piece, tokens)).decode()


def test_a_grammar_decides_what_may_be_said(random_llama, ready):
    for seed in range(3):
        params = SamplingParams(grammar=YES_OR_NO, seed=seed, temperature=3.0)
        assert _text(random_llama, ready, params) in ("yes", "no")


def test_another_root_rule_can_be_chosen(random_llama, ready):
    grammar = 'root ::= "a"\nother ::= "b"'
    assert _text(random_llama, ready, SamplingParams(grammar=grammar, grammar_root="other")) == "b"


def test_a_lazy_grammar_waits_for_its_trigger(random_llama, ready):
    start = random_llama.tokenizer.encode("no", add_special=False)[-1]
    params = SamplingParams(
        temperature=0,
        grammar=YES_OR_NO,
        grammar_lazy=True,
        grammar_triggers=(GrammarTrigger("word", "no"), GrammarTrigger("pattern", "yes+")),
    )
    with Sampler(random_llama, params) as sampler:
        assert sampler.sample(ready, accept=False) == _best(ready, 1)[0]
        sampler.accept(start)
        assert random_llama.tokenizer.is_eog(sampler.sample(ready))


@pytest.mark.parametrize(
    "values",
    [
        {"grammar": "root ::= )"},
        {"grammar": "root ::= root"},
        {"grammar": 'start ::= "a"'},
        {"grammar": "root ::= (" * 5000},
        {"grammar": "root ::= missing"},
        {
            "grammar": YES_OR_NO,
            "grammar_lazy": True,
            "grammar_triggers": (GrammarTrigger("pattern", "(["),),
        },
    ],
)
def test_a_bad_grammar_is_refused(random_llama, values):
    with pytest.raises(GrammarError):
        Sampler(random_llama, SamplingParams(**values))


def test_a_token_that_the_grammar_does_not_allow_changes_nothing(random_llama, ready):
    params = SamplingParams(grammar=YES_OR_NO, temperature=0)
    with Sampler(random_llama, params) as sampler:
        for token in (random_llama.tokenizer.encode("maybe")[-1], 2):
            with pytest.raises(GrammarError):
                sampler.accept(token)
        assert sampler.sample(ready) in range(32_000)


@pytest.mark.parametrize("token", [-1, 32_000])
def test_a_token_beyond_the_vocabulary_is_not_accepted(random_llama, token):
    with (
        Sampler(random_llama) as sampler,
        pytest.raises(TokenizeError, match="is not in"),
    ):
        sampler.accept(token)


def test_a_grammar_whose_every_token_is_banned_stops_its_sequence_alone(random_llama, ready):
    banned = tuple((token, -math.inf) for token in range(32_000))
    params = SamplingParams(grammar=YES_OR_NO, logit_bias=banned, temperature=0)
    with Sampler(random_llama, params) as stuck, Sampler(random_llama) as free:
        pointer = ready.logits_ptr(-1)
        first, second = sample_many([stuck, free], [pointer, pointer])
    assert isinstance(first, GrammarError)
    assert isinstance(second, int)
    assert 0 <= second < 32_000
