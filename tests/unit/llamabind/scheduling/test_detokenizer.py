"""Detokenizer: incremental UTF-8."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llamabind.scheduling.detokenizer import Detokenizer


def test_a_character_is_returned_with_its_last_byte():
    detokenizer = Detokenizer()
    euro = "€".encode()
    assert [detokenizer.feed(euro[i : i + 1]) for i in range(3)] == ["", "", "€"]


def test_ascii_after_a_broken_character_is_not_held_back():
    detokenizer = Detokenizer()
    assert detokenizer.feed(b"\xe2\x82") == ""
    assert detokenizer.feed(b"a") == "\ufffda"


def test_an_unfinished_character_becomes_u_fffd_at_the_end():
    detokenizer = Detokenizer()
    detokenizer.feed(b"ok\xf0\x9f")
    assert detokenizer.finish() == "\ufffd"


@given(text=st.text(), size=st.integers(1, 5))
def test_pieces_of_any_size_decode_to_the_whole_text(text, size):
    detokenizer, data = Detokenizer(), text.encode()
    pieces = [detokenizer.feed(data[i : i + size]) for i in range(0, len(data), size)]
    assert "".join(pieces) + detokenizer.finish() == text


@given(data=st.binary(), size=st.integers(1, 5))
def test_any_bytes_decode_as_in_one_piece(data, size):
    detokenizer = Detokenizer()
    pieces = [detokenizer.feed(data[i : i + size]) for i in range(0, len(data), size)]
    assert "".join(pieces) + detokenizer.finish() == data.decode("utf-8", "replace")


def test_ascii_after_the_first_bytes_of_a_character_ends_it():
    detokenizer = Detokenizer()
    texts = [
        detokenizer.feed(piece) for piece in (b"a", b"\xe2\x82", b"b", b"c", b"\xc3", b"\xa9d")
    ]
    assert texts == ["a", "", "\ufffdb", "c", "", "éd"]
