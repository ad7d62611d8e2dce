"""EngineConfig: refused settings, and the effective values of defaults."""

from __future__ import annotations

import pytest

from llamabind.engine.config import EngineConfig
from llamabind.errors import InvalidParameterError


def test_speculation_is_off_by_default():
    assert EngineConfig().speculation == "off"


def test_a_draft_model_alone_turns_on_drafting_with_it():
    assert EngineConfig(draft_model="small.gguf").speculation == "draft"
    assert EngineConfig(draft_model="small.gguf", speculative="off").speculation == "off"


@pytest.mark.parametrize(
    ("fields", "n"),
    [
        ({"speculative": "ngram"}, 48),
        ({"draft_model": "small.gguf"}, 3),
        ({"speculative": "ngram", "draft_max": 5}, 5),
    ],
)
def test_the_default_draft_max_is_llama_servers(fields, n):
    assert EngineConfig(**fields).max_draft == n


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"speculative": "magic"}, "speculative"),
        ({"speculative": "draft"}, "draft_model"),
        ({"speculative": "ngram", "draft_model": "small.gguf"}, "draft_model"),
        ({"draft_model": 7}, "draft_model"),
        ({"draft_max": 0}, "draft_max"),
        ({"draft_max": 65}, "draft_max"),
        ({"draft_min": -1}, "draft_min"),
        ({"draft_max": 2, "draft_min": 3}, "draft_min"),
        ({"draft_p_min": 1.5}, "draft_p_min"),
        ({"draft_p_min": float("nan")}, "draft_p_min"),
        ({"draft_gpu_layers": -2}, "draft_gpu_layers"),
        ({"ngram_size": 0}, "ngram_size"),
    ],
)
def test_wrong_speculation_settings_are_named_in_the_error(fields, name):
    with pytest.raises(InvalidParameterError) as caught:
        EngineConfig(**fields)
    assert caught.value.field == name
