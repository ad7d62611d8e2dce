"""PrefixIndex: which files a prompt needs, and which states are worth a file."""

from __future__ import annotations

from array import array

import pytest

from llamabind.disk_cache.index import PrefixEntry, PrefixIndex

KEY, OTHER_KEY = bytes(32), bytes(range(32))


def _tokens(*ranges: tuple[int, int]) -> array[int]:
    return array("i", [token for first, n in ranges for token in range(first, first + n)])


def _entry(name: str, tokens: array[int], *, key=KEY, is_partial=False, used_at=0.0):
    return PrefixEntry(name, key, tokens, is_partial, n_bytes=10, used_at=used_at)


def _index(*entries: PrefixEntry, is_cuttable=True, has_partial=False) -> PrefixIndex:
    index = PrefixIndex(is_cuttable=is_cuttable, has_partial=has_partial)
    for entry in entries:
        index.add(entry)
    return index


def _found(index: PrefixIndex, tokens, n_have=0, n_held=0, key=KEY) -> list[str]:
    return [entry.name for entry in index.find(key, tokens, n_have, n_held)]


def test_the_file_with_the_longest_common_prefix_is_read():
    index = _index(
        _entry("short", _tokens((0, 200))),
        _entry("long", _tokens((0, 500), (5000, 100))),
        _entry("other", _tokens((0, 300), (7000, 100))),
        _entry("key", _tokens((0, 600)), key=OTHER_KEY),
    )
    assert _found(index, _tokens((0, 1000))) == ["long"]
    assert _found(index, _tokens((0, 1000)), key=OTHER_KEY) == ["key"]
    assert _found(index, _tokens((1, 1000))) == []
    assert index.n_bytes == 40
    index.remove("long")
    index.remove("unknown")
    assert _found(index, _tokens((0, 1000))) == ["other"]


def test_nothing_is_read_for_a_few_tokens():
    index = _index(_entry("a", _tokens((0, 500))))
    prompt = _tokens((0, 600))
    assert _found(index, prompt, n_have=372) == ["a"]
    assert _found(index, prompt, n_have=373) == []
    assert _found(index, prompt, n_have=600) == []
    # 128 tokens of 5,000 are less than 1/32.
    large = _index(_entry("large", _tokens((0, 5000))))
    assert _found(large, _tokens((0, 155), (9000, 100))) == []
    assert _found(large, _tokens((0, 160), (9000, 100))) == ["large"]


def test_memory_that_cannot_be_cut_needs_a_file_that_ends_within_the_prompt():
    index = _index(
        _entry("a", _tokens((0, 400))), _entry("b", _tokens((0, 600))), is_cuttable=False
    )
    assert _found(index, _tokens((0, 500))) == ["a"]
    assert _found(index, _tokens((0, 601))) == ["b"]
    # The last token must be computed for its logits.
    assert _found(index, _tokens((0, 600))) == ["a"]
    assert _found(index, _tokens((0, 399), (9000, 100))) == []


def test_a_partial_state_is_read_with_the_cells_that_it_lacks():
    part = _entry("part", _tokens((0, 400)), is_partial=True)
    prompt = _tokens((0, 450), (9000, 50))
    index = _index(part, is_cuttable=False, has_partial=True)
    assert _found(index, prompt) == [], "no file has the cells"
    assert _found(index, prompt, n_held=400) == ["part"], "a slot has the cells"
    index.add(_entry("longest", _tokens((0, 900))))
    index.add(_entry("long", _tokens((0, 500))))
    assert _found(index, prompt) == ["long", "part"]


def test_a_state_is_worth_a_file_for_128_new_tokens_and_an_eighth_of_it():
    index = _index(_entry("a", _tokens((0, 2000))))
    assert not index.lacks(KEY, _tokens((0, 1500)))
    assert not index.lacks(KEY, _tokens((0, 2000), (5000, 127)), is_last=True)
    assert not index.lacks(KEY, _tokens((0, 2000), (5000, 200)))
    assert index.lacks(KEY, _tokens((0, 2000), (5000, 200)), is_last=True)
    assert index.lacks(KEY, _tokens((0, 2000), (5000, 300)))
    assert not index.lacks(KEY, _tokens((5000, 127)))
    assert index.lacks(KEY, _tokens((5000, 128)))
    assert index.lacks(OTHER_KEY, _tokens((0, 1500)))


def test_a_checkpoint_is_worth_a_file_for_32_new_tokens_at_the_end():
    index = _index(_entry("a", _tokens((0, 512))), is_cuttable=False)
    assert not index.lacks(KEY, _tokens((0, 543)), is_last=True)
    assert index.lacks(KEY, _tokens((0, 544)), is_last=True)
    assert not index.lacks(KEY, _tokens((0, 544)))
    # A longer state does not contain a shorter one.
    assert index.lacks(KEY, _tokens((0, 480)), is_last=True)


def test_the_files_that_a_state_makes_superfluous_are_those_with_little_of_their_own():
    files = [
        _entry("prefix", _tokens((0, 300))),
        _entry("last turn", _tokens((0, 400), (5000, 127))),
        _entry("another talk", _tokens((0, 400), (5000, 128))),
    ]
    new = _entry("new", _tokens((0, 1000)))
    assert _index(*files, new).superseded(new) == ["prefix", "last turn"]
    assert _index(*files, new, is_cuttable=False).superseded(new) == []
    carrying = _index(*files, new, is_cuttable=False, has_partial=True)
    assert carrying.superseded(new) == ["prefix", "last turn"]


def test_the_last_used_prefixes_come_first_without_prefixes_of_others():
    index = _index(
        _entry("old", _tokens((0, 500)), used_at=1),
        _entry("part of old", _tokens((0, 300)), used_at=9),
        _entry("new", _tokens((0, 200), (5000, 100)), used_at=2),
        _entry("partial", _tokens((0, 200)), is_partial=True, used_at=3),
        _entry("key", _tokens((0, 900)), key=OTHER_KEY, used_at=4),
    )
    assert [entry.name for entry in index.latest(KEY)] == ["new", "old"]


@pytest.mark.parametrize("n_common", [200, 130])
def test_a_file_is_used_if_the_prompt_begins_as_it(n_common):
    index = _index(_entry("a", _tokens((0, 400))))
    tokens = _tokens((0, n_common), (5000, 10))
    assert index.covering(KEY, tokens) == ["a"]
    assert index.covering(KEY, _tokens((5000, 300))) == []
