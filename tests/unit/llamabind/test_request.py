"""GenerationRequest refuses invalid values and names the field."""

import math
from typing import Any

import pytest

from llamabind.errors import InvalidParameterError
from llamabind.request import GenerationRequest
from llamabind.sampling.params import GrammarTrigger


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("prompt_tokens", (), "prompt"),
        ("prompt_tokens", ("a", "b"), "prompt"),
        ("prompt_tokens", (1, None), "prompt"),
        ("max_tokens", "5", "max_tokens"),
        ("min_tokens", 1.5, "min_tokens"),
        ("stop", (1,), "stop"),
        ("stop", ("",), "stop"),
        ("logprobs", -1, "logprobs"),
        ("prompt_logprobs", True, "prompt_logprobs"),
        ("priority", "high", "priority"),
        ("max_queue_seconds", "soon", "max_queue_seconds"),
        ("max_queue_seconds", math.nan, "max_queue_seconds"),
        ("max_queue_seconds", -1, "max_queue_seconds"),
    ],
)
def test_a_wrong_value_is_refused_with_the_field_name(field: str, value: Any, named: str):
    fields = {"request_id": "a", "prompt_tokens": (1, 2), field: value}
    with pytest.raises(InvalidParameterError) as caught:
        GenerationRequest(**fields)
    assert caught.value.field == named


@pytest.mark.parametrize("kind", [[], None, "regex"])
def test_a_trigger_of_an_unknown_kind_is_refused_whatever_its_type(kind: Any):
    with pytest.raises(InvalidParameterError) as caught:
        GrammarTrigger(kind, "x")
    assert caught.value.field == "grammar_triggers"
