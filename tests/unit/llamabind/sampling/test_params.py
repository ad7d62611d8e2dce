"""SamplingParams refuses values that llama.cpp cannot use, with the field and the reason."""

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamabind.errors import InvalidParameterError
from llamabind.sampling.params import (
    DEFAULT_SAMPLERS,
    GrammarTrigger,
    SamplingParams,
    sampler_names,
)

FIELDS = {item.name: item for item in dataclasses.fields(SamplingParams)}
FLOAT_FIELDS = [name for name, item in FIELDS.items() if item.type is float]
INT_FIELDS = [name for name, item in FIELDS.items() if item.type is int]


def test_defaults_are_those_of_llama_server():
    params = SamplingParams()
    assert (params.temperature, params.top_k, params.top_p, params.min_p) == (0.8, 40, 0.95, 0.05)
    assert (params.repeat_last_n, params.repeat_penalty, params.dry_base) == (64, 1.0, 1.75)
    assert params.samplers == DEFAULT_SAMPLERS
    assert " ".join(DEFAULT_SAMPLERS) == (
        "penalties dry top_n_sigma top_k typ_p top_p min_p xtc temperature"
    )
    assert params.dry_sequence_breakers == ("\n", ":", '"', "*")
    assert params.seed is None


@pytest.mark.parametrize("name", FIELDS)
def test_a_value_of_a_wrong_type_is_refused_with_the_field_name(name):
    wrong: dict[str, Any] = {name: object()}
    with pytest.raises(InvalidParameterError) as caught:
        SamplingParams(**wrong)
    assert caught.value.field == name


@pytest.mark.parametrize("name", FLOAT_FIELDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39, -1e39, 10**400])
def test_a_number_beyond_finite_32_bit_floats_is_refused(name, value):
    with pytest.raises(InvalidParameterError) as caught:
        SamplingParams(**{name: value})
    assert caught.value.field == name


@pytest.mark.parametrize("name", INT_FIELDS)
@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 10**30, True, 1.5, "4"])
def test_an_integer_that_does_not_fit_32_bits_is_refused(name, value):
    with pytest.raises(InvalidParameterError) as caught:
        SamplingParams(**{name: value})
    assert caught.value.field == name


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("top_p", 1.5, "Value must be between 0.0 <= value <= 1.0, but got 1.5"),
        ("mirostat", 3, "Value must be between 0 <= value <= 2, but got 3"),
        ("adaptive_decay", 1.0, "Value must be between 0.0 <= value <= 0.99, but got 1.0"),
        ("repeat_last_n", -2, "Value must be between -1 <= value <= 2147483647, but got -2"),
        ("temperature", math.nan, "Value must be finite, but got nan"),
        ("temperature", -0.1, "but got -0.1"),
        ("repeat_penalty", 0.0, "but got 0.0"),
        ("repeat_penalty", 1e-40, "but got 1e-40"),
        ("dry_base", 0.5, "but got 0.5"),
        ("seed", -1, "Value must be between 0 <= value <= 4294967295, but got -1"),
        ("seed", 2**32, "but got 4294967296"),
        ("samplers", ("top_k", "magic"), "unknown sampler 'magic'"),
        ("samplers", ("top_k",) * 23, "at most 22 samplers"),
        ("samplers", ("infill",), "infill needs top_k before it"),
        ("samplers", ("infill", "top_k"), "infill needs top_k before it"),
        ("dry_sequence_breakers", ("",), "a sequence breaker is empty"),
        ("dry_sequence_breakers", ("a\0",), "a NUL character is not allowed"),
        ("dry_sequence_breakers", ("x",) * 65, "but got 65"),
        ("logit_bias", ((1, math.nan),), "Value must be finite"),
        ("logit_bias", ((1, math.inf),), "Value must be finite"),
        ("logit_bias", ((-1, 1.0),), "but got -1"),
        ("logit_bias", ((1,),), "expected (token, bias)"),
        ("logit_bias", ((1, 0.0),) * 65_537, "at most 65536 pairs"),
        ("grammar", "root ::= \ud800", "lone surrogate at position 9"),
        ("grammar", 'root ::= "\0"', "a NUL character is not allowed"),
        ("grammar_root", "", "the name of the root rule is empty"),
        ("grammar_triggers", ("word",), "must be a tuple of GrammarTrigger"),
    ],
)
def test_the_message_says_what_is_wrong(name, value, message):
    with pytest.raises(InvalidParameterError) as caught:
        SamplingParams(**{name: value})
    assert caught.value.field == name
    assert message in caught.value.message


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 0},
        {"temperature": 100.0},
        {"top_k": -1},
        {"top_k": 0},
        {"seed": 0},
        {"seed": 2**32 - 1},
        {"logit_bias": ((5, -math.inf), (6, 3))},
        {"samplers": ()},
        {"samplers": ("temperature", "top_k", "infill", "adaptive_p")},
        {"samplers": ("top_k", "infill"), "top_k": 256},
        {"dry_sequence_breakers": ()},
        {"adaptive_target": -5.0},
    ],
)
def test_values_that_llama_server_takes_are_taken(values):
    params = SamplingParams(**values)
    for name, value in values.items():
        assert getattr(params, name) == value


@pytest.mark.parametrize("top_k", [-1, 0, 257])
def test_infill_over_too_many_candidates_is_refused(top_k):
    with pytest.raises(InvalidParameterError, match="top_k of 1 to 256"):
        SamplingParams(samplers=("top_k", "infill"), top_k=top_k)


def test_a_lazy_grammar_needs_a_trigger():
    with pytest.raises(InvalidParameterError, match="needs at least one trigger"):
        SamplingParams(grammar='root ::= "a"', grammar_lazy=True)
    assert SamplingParams(
        grammar='root ::= "a"',
        grammar_lazy=True,
        grammar_triggers=(GrammarTrigger("token", token=3),),
    ).grammar_lazy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("token",), "expected an integer, but got None"),
        (("token", "", -1), "but got -1"),
        (("token", "", 2**31), "but got 2147483648"),
        (("word",), "a word trigger needs a value"),
        (("pattern", "a\0"), "a NUL character"),
        (("regex", "a"), "Value must be one of word, pattern, pattern_full, token"),
    ],
)
def test_a_trigger_that_native_code_cannot_take_is_refused(arguments, message):
    with pytest.raises(InvalidParameterError, match=message):
        GrammarTrigger(*arguments)


def test_params_cannot_be_changed_after_they_were_checked():
    params = SamplingParams()
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.temperature = 2.0  # type: ignore[misc]


def test_greedy_means_temperature_zero_unless_the_order_or_mirostat_overrides_it():
    assert SamplingParams(temperature=0).is_greedy
    assert SamplingParams(temperature=1e-30).is_greedy
    assert not SamplingParams(temperature=0, samplers=("top_k",)).is_greedy
    assert not SamplingParams(temperature=0, mirostat=2).is_greedy
    assert not SamplingParams(temperature=0, dynatemp_range=0.5).is_greedy
    assert SamplingParams(temperature=0, dynatemp_range=-0.5).is_greedy
    assert not SamplingParams().is_greedy


@pytest.mark.parametrize(
    ("given_names", "canonical"),
    [
        (["top-k", "TopP", "TEMP"], ("top_k", "top_p", "temperature")),
        (["nucleus", "typ", "adaptive-p"], ("top_p", "typ_p", "adaptive_p")),
        ([], ()),
    ],
)
def test_sampler_names_are_understood_in_llama_servers_spellings(given_names, canonical):
    assert sampler_names(given_names) == canonical


@pytest.mark.parametrize("names", [["magic"], [3], [None]])
def test_an_unknown_sampler_name_is_refused_not_dropped(names):
    with pytest.raises(InvalidParameterError, match="unknown sampler"):
        sampler_names(names)


@given(st.sampled_from(FLOAT_FIELDS + INT_FIELDS), st.floats() | st.integers())
def test_any_number_is_either_kept_as_it_is_or_refused_by_name(name, value):
    error = _error_of(name, value)
    if error is None:
        assert getattr(SamplingParams(**{name: value}), name) == value
        assert math.isfinite(value)
    else:
        assert error.field == name


def _error_of(name, value):
    try:
        SamplingParams(**{name: value})
    except InvalidParameterError as error:
        return error
    return None
