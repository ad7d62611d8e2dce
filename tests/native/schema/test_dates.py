"""Dates in answers that follow a schema: every day of the calendar, and no other."""

from collections.abc import Iterator
from datetime import date

import pytest

from llamabind._capi import shim
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from llamabind.schema.to_grammar import json_schema_to_grammar
from tests.support.shim_grammar import ShimGrammar

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def model(vocab_dir) -> Iterator[Model]:
    path = vocab_dir / "ggml-vocab-gpt-2.gguf"
    with Model(path, ModelParams(vocab_only=True)) as model:
        yield model


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _allows(grammar: ShimGrammar, text: str) -> bool:
    assert shim.lb_grammar_reset(grammar.handle) == shim.lb_status.LB_OK
    n_tokens = len(grammar.model.tokenizer.encode(text, add_special=False))
    return grammar.accept_text(text) == n_tokens and grammar.is_complete()


@pytest.mark.parametrize("year", ["0000", "0001", "0004", "0400", "1900", "2000", "2023", "2024"])
def test_the_days_of_a_year_are_those_of_the_calendar(model: Model, year: str) -> None:
    days = [f"{year}-{month:02}-{day:02}" for month in range(14) for day in range(33)]
    with ShimGrammar(model, json_schema_to_grammar({"format": "date"})) as grammar:
        wrong = [day for day in days if _allows(grammar, f'"{day}"') != _is_date(day)]
    assert wrong == []


def test_every_leap_year_has_its_day(model: Model) -> None:
    with ShimGrammar(model, json_schema_to_grammar({"format": "date"})) as grammar:
        for year in (*range(1, 2500), 9996, 9999):
            day = f"{year:04}-02-29"
            assert _allows(grammar, f'"{day}"') == _is_date(day), day


def test_a_date_with_a_time_is_a_day_of_the_calendar(model: Model) -> None:
    with ShimGrammar(model, json_schema_to_grammar({"format": "date-time"})) as grammar:
        assert _allows(grammar, '"2024-02-29T23:59:59Z"')
        assert not _allows(grammar, '"2023-02-29T23:59:59Z"')
