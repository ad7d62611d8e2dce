"""StopMatcher: stop strings that are split over pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamabind.scheduling.stop_strings import StopMatcher


def _feed(stops: tuple[str, ...], pieces: list[str]) -> tuple[list[str], StopMatcher]:
    matcher = StopMatcher(stops)
    return [matcher.feed(piece) for piece in pieces], matcher


def test_the_example_in_the_docstring_is_right():
    shown, matcher = _feed(("###",), ["a#", "#b", "##", "#c"])
    assert (shown, matcher.matched) == (["a", "##b", "", ""], "###")


def test_without_stop_strings_all_text_passes():
    assert _feed((), ["a", "b"])[0] == ["a", "b"]


def test_finish_releases_what_was_held_back():
    shown, matcher = _feed(("END",), ["the EN"])
    assert (shown, matcher.finish(), matcher.finish()) == (["the "], "EN", "")


def test_text_after_a_match_is_dropped():
    shown, matcher = _feed(("x",), ["axb", "c"])
    assert (shown, matcher.finish()) == (["a", ""], "")


def test_the_earliest_of_several_matches_wins():
    shown, matcher = _feed(("late", "early"), ["some early and late"])
    assert (shown, matcher.matched) == (["some "], "early")


@pytest.mark.parametrize("stops", [("aab",), ("ab", "aab"), ("b", "ab"), ("aaaa", "b")])
@given(text=st.text("abc", max_size=30), cuts=st.lists(st.integers(0, 30), max_size=8))
def test_however_the_text_is_split_all_before_the_earliest_match_is_returned(stops, text, cuts):
    borders = sorted({0, len(text), *(cut for cut in cuts if cut <= len(text))})
    shown, matcher = _feed(stops, [text[a:b] for a, b in pairwise(borders)])
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    if not ends:
        assert "".join(shown) + matcher.finish() == text
        return
    # The match is the stop string that is complete first; the text before it is returned.
    complete = text[: min(ends)]
    assert matcher.matched is not None
    assert complete.startswith("".join(shown))
    assert not any(stop in "".join(shown) for stop in stops)


def test_a_text_without_a_first_character_of_any_stop_string_passes_at_once():
    matcher = StopMatcher(("###", "End"))
    assert [matcher.feed(text) for text in ("abc", "d#", "xyz", "E", "n", "d")] == [
        *("abc", "d", "#xyz", "", "", ""),
    ]
    assert matcher.matched == "End"
