"""NgramDrafter: drafts from the text itself."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamabind.speculation.ngram_drafter import NgramIndex


def _draft(tokens: list[int], n: int = 8, size: int = 3) -> list[int]:
    return NgramIndex(size).draft(array("i", tokens), n)


def test_tokens_that_followed_the_same_ngram_are_drafted():
    assert _draft([1, 2, 3, 4, 5, 9, 1, 2, 3]) == [4, 5, 9]


def test_nothing_is_drafted_if_nothing_repeats():
    assert _draft(list(range(100))) == []
    assert _draft([1, 2]) == []


def test_the_longest_match_wins_over_the_newest():
    older, newer = [7, 1, 2, 3, 50], [8, 1, 2, 3, 60]
    assert _draft([*older, *newer, 7, 1, 2, 3])[0] == 50


def test_of_equal_matches_the_newest_wins():
    assert _draft([5, 1, 2, 3, 50, 6, 1, 2, 3, 60, 7, 1, 2, 3])[0] == 60


def test_a_longer_match_gives_a_longer_draft():
    text = list(range(100, 140))
    assert _draft([*text, 1, *text[:5]], n=30) == text[5:10]
    assert _draft([*text, 1, *text[:20]], n=30) == text[20:40]


def test_a_draft_has_at_most_the_wanted_number_of_tokens():
    text = list(range(100, 140))
    assert _draft([*text, 1, *text[:20]], n=3) == text[20:23]


def test_a_match_that_overlaps_the_end_continues_with_its_own_draft():
    assert _draft([1, 2, 1, 2, 1, 2, 1, 2], n=5) == [1, 2, 1, 2, 1]
    assert _draft([4] * 10, n=6) == [4] * 6


def test_a_long_prompt_is_indexed_over_several_drafts():
    prompt = [i % 2_000 for i in range(2_500)]
    index, tokens = NgramIndex(3), array("i", prompt)
    drafts = [index.draft(tokens, 2) for _ in range(4)]
    assert drafts[-1] == [500, 501]


def _naive_length(tokens: list[int], end: int) -> int:
    n = 0
    while n < min(end, 64) and tokens[end - 1 - n] == tokens[len(tokens) - 1 - n]:
        n += 1
    return n


@given(
    tokens=st.lists(st.integers(0, 3), max_size=60),
    size=st.integers(1, 5),
    cuts=st.lists(st.integers(0, 60), max_size=4),
)
def test_an_incremental_index_finds_what_a_full_search_finds(tokens, size, cuts):
    index = NgramIndex(size)
    for cut in sorted(cuts):
        index.draft(array("i", tokens[:cut]), 1)
    draft = index.draft(array("i", tokens), 4)
    lengths = {end: _naive_length(tokens, end) for end in range(size, len(tokens))}
    matches = [end for end, length in lengths.items() if length >= size][-8:]
    if not matches:
        assert draft == []
        return
    best = max(matches, key=lambda end: (lengths[end], end))
    expected = list(tokens)
    for offset in range(min(4, lengths[best])):
        expected.append(expected[best + offset])
    assert draft == expected[len(tokens) :]


@pytest.mark.parametrize("n", [1_000, 30_000])
def test_a_draft_reads_few_tokens_however_long_the_text(n):
    class Counting(array):
        n_read = 0

        def __getitem__(self, place):
            if isinstance(place, int):
                Counting.n_read += 1
            return super().__getitem__(place)

    index, tokens = NgramIndex(3), Counting("i", [i % 7 for i in range(n)])
    for _ in range(n // 1_000 + 1):
        index.draft(tokens, 4)
    Counting.n_read = 0
    index.draft(tokens, 4)
    assert Counting.n_read < 8 * 2 * 64 + 8
