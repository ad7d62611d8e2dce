"""Detokenizer: turns the bytes of tokens into text without splitting characters."""

from __future__ import annotations

import codecs


class Detokenizer:
    """An incremental UTF-8 decoder: `feed` returns complete characters, `finish` the rest.

    Invalid bytes become U+FFFD as soon as they are known to be invalid, so at most the three bytes
    of an unfinished character are held back.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_between_characters = True

    def feed(self, piece: bytes) -> str:
        """Return the characters that `piece` completes."""
        if self._is_between_characters and piece.isascii():
            return piece.decode("ascii")
        text = self._decoder.decode(piece)
        self._is_between_characters = not self._decoder.getstate()[0]
        return text

    def finish(self) -> str:
        """Return U+FFFD for an unfinished character, or an empty string."""
        return self._decoder.decode(b"", final=True)
