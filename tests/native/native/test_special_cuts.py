"""Pieces of a long text have the tokens of the whole."""

import random
from collections.abc import Iterator

import pytest

from llamabind import Model
from llamabind._capi.types import VocabHandle
from llamabind.native import tokenize_text
from llamabind.native import tokenizer as tokenizer_module
from llamabind.native.special_cuts import SpecialCuts
from llamabind.native.tokenizer import Tokenizer
from tests.support.paths import TINY_MODEL


@pytest.fixture(scope="module")
def tokenizer() -> Iterator[Tokenizer]:
    with Model(TINY_MODEL) as model:
        yield model.tokenizer


def whole(tokenizer: Tokenizer, text: str, add_special: bool, parse_special: bool) -> list[int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer_module, "_WHOLE_BYTES", 1 << 30)
        return tokenizer.encode(text, add_special=add_special, parse_special=parse_special)


@pytest.mark.parametrize("parse_special", [True, False])
@pytest.mark.parametrize("add_special", [True, False])
def test_long_texts_have_the_tokens_of_the_whole(
    tokenizer: Tokenizer, add_special: bool, parse_special: bool
) -> None:
    random_ = random.Random(1)
    parts = [*tokenizer.control_texts, "<|", "im_end|>", " ", "\n", "word ", "é", "<"]
    for _ in range(2):
        text = "".join(random_.choices(parts, k=30_000))
        found = tokenizer.encode(text, add_special=add_special, parse_special=parse_special)
        assert found == whole(tokenizer, text, add_special, parse_special)


def test_llama_cpp_gets_short_pieces(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time grows with the square of the number of special tokens in a text."""
    sizes: list[int] = []
    tokenize = tokenize_text._tokenize

    def measured(vocab: VocabHandle, raw: bytes, add: bool, parse: bool) -> list[int]:
        sizes.append(len(raw))
        return tokenize(vocab, raw, add, parse)

    monkeypatch.setattr(tokenize_text, "_tokenize", measured)
    tokens = tokenizer.encode("<|im_end|>" * 40_000, add_special=False, parse_special=True)
    assert len(tokens) == 40_000
    assert max(sizes) < 20_000


def test_a_check_can_end_a_long_text(tokenizer: Tokenizer) -> None:
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        tokenizer.encode("<|im_end|>" * 40_000, parse_special=True, check=check)


def split_longest_first(text: bytes, specials: list[bytes]) -> list[bytes]:
    """What tokenizer_st_partition of llama-vocab.cpp does: longest tokens first, left to right."""
    parts = [(text, False)]
    for special in sorted(specials, key=len, reverse=True):
        new: list[tuple[bytes, bool]] = []
        for part, is_special in parts:
            if is_special:
                new.append((part, True))
                continue
            rest = part
            while (at := rest.find(special)) >= 0:
                new += [(rest[:at], False), (special, True)]
                rest = rest[at + len(special) :]
            new.append((rest, False))
        parts = [item for item in new if item[0]]
    return [part for part, _ in parts]


def test_no_cut_changes_the_parts_of_overlapping_special_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llamabind.native.special_cuts._PIECE_BYTES", 5)
    monkeypatch.setattr("llamabind.native.special_cuts._WINDOW_BYTES", 3)
    random_ = random.Random(2)
    n_pieces = n_without = 0
    for _ in range(3000):
        specials = list({bytes(random_.choices(b"ab<", k=random_.randint(1, 4))) for _ in range(4)})
        controls = specials[:2]
        text = bytes(random_.choices(b"ab<cd", k=60))
        pieces = list(SpecialCuts(dict.fromkeys(specials, True), controls).pieces(text))
        assert b"".join(piece for piece, _ in pieces) == text
        found = []
        for piece, has_control in pieces:
            found += split_longest_first(piece, specials if has_control else specials[2:])
            n_pieces += 1
            n_without += not has_control
        assert found == split_longest_first(text, specials), (specials, text, pieces)
    assert n_pieces > 6000
    assert n_without > 600


def test_a_token_that_takes_the_spaces_beside_it_is_no_place_to_cut() -> None:
    text = b"word <s>" * 10_000
    assert list(SpecialCuts({b"<s>": False}).pieces(text)) == [(text, False)]
    assert len(list(SpecialCuts({b"<s>": True}).pieces(text))) > 1


def test_a_long_text_after_a_control_token_is_a_piece_of_its_own() -> None:
    text = b"<s>user\n" + b"<" * 100_000
    pieces = list(SpecialCuts({b"<s>": True, b"\n": True}, [b"<s>"]).pieces(text))
    assert pieces == [(text[:8], True), (text[8:], False)]
