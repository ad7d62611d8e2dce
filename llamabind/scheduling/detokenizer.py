"""Turns the bytes of token pieces into text that never splits a character."""

from __future__ import annotations

import codecs


class Detokenizer:
    """Incremental UTF-8: `feed` returns all complete characters, `finish` what was left.

    Bytes that can never become a character turn into U+FFFD as soon as that is certain, so nothing
    is held back longer than the at most three bytes of an unfinished character.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, piece: bytes) -> str:
        """Return the characters that `piece` completes."""
        return self._decoder.decode(piece)

    def finish(self) -> str:
        """Return U+FFFD for an unfinished character, or an empty string."""
        return self._decoder.decode(b"", final=True)
