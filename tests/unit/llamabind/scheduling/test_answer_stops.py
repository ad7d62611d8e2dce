"""AnswerStops: a client's stop strings count in the answer, not in the reasoning."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamabind.request import ReasoningTags
from llamabind.scheduling.answer_stops import AnswerStops

TAGS = ReasoningTags("<think>", ("</think>",))
OPEN = ReasoningTags("<think>", ("</think>",), is_open=True)


def _read(stops: AnswerStops, pieces: list[str]) -> str:
    shown = "".join(stops.feed(piece) for piece in pieces)
    return shown + stops.finish()


@pytest.mark.parametrize(
    ("tags", "text", "shown", "matched"),
    [
        (TAGS, "<think>a\n\nb</think>c\n\nd", "<think>a\n\nb</think>c", "\n\n"),
        (TAGS, "\n<think>a\n\nb</think>c", "\n<think>a\n\nb</think>c", None),
        (OPEN, "a\n\nb</think>c\n\nd", "a\n\nb</think>c", "\n\n"),
        (OPEN, "a\n\nb", "a\n\nb", None),
        (OPEN, "a</think>\n\nb\n\nc", "a</think>\n\nb", "\n\n"),
        (OPEN, "a</think>\n\n", "a</think>\n\n", None),
        (TAGS, "a\n\n<think>b", "a", "\n\n"),
        (TAGS, "c <think>\n\nb", "c <think>", "\n\n"),
        (TAGS, "<th", "<th", None),
        (TAGS, "  ", "  ", None),
        (None, "<think>a\n\nb</think>", "<think>a", "\n\n"),
    ],
)
def test_stop_strings_are_matched_in_the_answer_only(
    tags: ReasoningTags | None, text: str, shown: str, matched: str | None
) -> None:
    for pieces in ([text], list(text)):
        stops = AnswerStops(("\n\n",), (), tags)
        assert (_read(stops, pieces), stops.matched) == (shown, matched)


def test_the_templates_own_stop_strings_end_reasoning_too() -> None:
    stops = AnswerStops(("x",), ("<|im_end|>",), OPEN)
    assert (_read(stops, ["a x b<|im", "_end|> c"]), stops.matched) == ("a x b", "<|im_end|>")


def test_a_stop_string_that_is_the_end_tag_ends_the_answer_after_the_reasoning() -> None:
    stops = AnswerStops(("</think>",), (), OPEN)
    assert (_read(stops, list("a</think>b</think>c")), stops.matched) == ("a</think>b", "</think>")


def test_without_stop_strings_nothing_is_held_back() -> None:
    stops = AnswerStops((), (), TAGS)
    assert [stops.feed("<th"), stops.feed("ink>")] == ["<th", "ink>"]


def test_many_white_space_characters_are_not_held_back_for_ever() -> None:
    stops = AnswerStops(("x",), (), TAGS)
    assert sum(len(stops.feed(" ")) for _ in range(100)) > 0


@given(text=st.text("<think>/x\n", max_size=40), cuts=st.lists(st.integers(0, 40), max_size=8))
def test_without_a_match_all_text_is_returned_however_it_is_split(
    text: str, cuts: list[int]
) -> None:
    borders = sorted({0, len(text), *(cut for cut in cuts if cut <= len(text))})
    stops = AnswerStops(("xx",), (), TAGS)
    shown = _read(stops, [text[a:b] for a, b in pairwise(borders)])
    assert shown == text if stops.matched is None else text.startswith(shown)
