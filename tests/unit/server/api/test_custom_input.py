"""The text of a custom tool's call is read from its JSON as the pieces come."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.shared.custom_input import CustomInput, input_of


@given(st.text(), st.booleans(), st.lists(st.integers(0, 400), max_size=8))
def test_the_pieces_add_up_to_the_text(text: str, is_ascii: bool, cuts: list[int]) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=is_ascii)
    bounds = [0, *sorted(min(cut, len(arguments)) for cut in cuts), len(arguments)]
    pieces = [arguments[a:b] for a, b in pairwise(bounds)]
    custom = CustomInput()
    assert "".join(map(custom.feed, pieces)) + custom.finish() == text


def test_text_is_returned_before_the_call_ends() -> None:
    custom = CustomInput()
    assert custom.feed('{"inp') == ""
    assert custom.feed('ut": "a\\') == "a"
    assert custom.feed("nb\\ud83d") == "\nb"
    assert custom.feed('\\ude00"}') == "\N{GRINNING FACE}"
    assert custom.finish() == ""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("", ""),
        ("{}", "{}"),
        ('{"patch": "x"}', '{"patch": "x"}'),
        ('{"input": "cut of', "cut of"),
        ('{"input": "half \\ud800 pair"}', "half \N{REPLACEMENT CHARACTER} pair"),
    ],
)
def test_arguments_of_another_form_are_returned_as_they_are(arguments: str, text: str) -> None:
    assert input_of(arguments) == text
