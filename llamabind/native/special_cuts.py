"""SpecialCuts: where a long text can be cut so that its pieces have the tokens of the whole.

llama_tokenize first splits a text at the special tokens in it, and walks a list of all parts for
each one it finds (tokenizer_st_partition of llama-vocab.cpp), so the time grows with the square of
their number: 32,000 of them take seconds. Line breaks are special tokens in some vocabularies, so
ordinary documents are affected, too. It also looks for each of them in the whole text: Gemma's
6,400 tokens that begin with "<" take 0.1 ms for each "<" of a text.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

_PIECE_BYTES: Final = 1 << 14
_PREFIX_BYTES: Final = 4
_WINDOW_BYTES: Final = 1 << 14


class SpecialCuts:
    """Cuts texts at special tokens. Any thread."""

    def __init__(self, specials: Mapping[bytes, bool], controls: Collection[bytes] = ()) -> None:
        """`specials` are the texts of the special tokens that the tokenizer looks for.

        The value is False for tokens that take the spaces beside them, too: no cut is made there.
        `controls` are those that it looks for only with parse_special.
        """
        self._specials = specials
        self._lengths = sorted({len(text) for text in specials}, reverse=True)
        self._prefix = _prefixes(specials)
        self._controls = frozenset(controls)
        self._control_lengths = {len(text) for text in controls}
        self._control_prefix = _prefixes(controls)

    def pieces(self, text: bytes) -> Iterator[tuple[bytes, bool]]:
        """Yield pieces of `text`, and whether each contains one of `controls`.

        They have about 16 KiB, and more where there is no place to cut.
        """
        start = 0
        while start < len(text):
            found = self._find(text, start + _PIECE_BYTES, len(text))
            end = len(text) if found is None else found[0]
            if end - start > 2 * _PIECE_BYTES:
                # Most of a long piece then contains no special token.
                end = self._last_end(text, start) or end
            piece = text[start:end]
            yield piece, self._has_control(piece)
            start = end

    def _last_end(self, text: bytes, start: int) -> int:
        """Return the end of the last special token in the first 16 KiB that allows a cut; or 0."""
        end, at = 0, start
        while (found := self._find(text, at, start + _PIECE_BYTES)) is not None:
            at = end = found[1]
        return end

    def _find(self, text: bytes, start: int, end: int) -> tuple[int, int] | None:
        """Return where the first special token begins and ends that allows a cut."""
        for at in _matches(self._prefix, text, start, end):
            if (length := self._length(text, at)) is not None:
                return at, at + length
        return None

    def _length(self, text: bytes, at: int) -> int | None:
        """Return the length of the special token that begins at `at` and that no other overlaps.

        The tokenizer finds that token whatever precedes it. It looks for long tokens first, so
        shorter ones inside it do not matter.
        """
        for length in self._lengths:
            found = text[at : at + length]
            if len(found) == length and found in self._specials:
                is_clean = self._specials[found] and not (
                    self._crosses(text, at) or self._crosses(text, at + length)
                )
                return length if is_clean else None
        return None

    def _has_control(self, piece: bytes) -> bool:
        return any(
            piece[at : at + length] in self._controls
            for at in _matches(self._control_prefix, piece, 0, len(piece))
            for length in self._control_lengths
        )

    def _crosses(self, text: bytes, at: int) -> bool:
        """Whether a special token begins before `at` and ends after it."""
        return any(
            text[start : start + length] in self._specials
            for length in self._lengths
            for start in range(max(0, at - length + 1), at)
        )


def _prefixes(texts: Collection[bytes]) -> re.Pattern[bytes] | None:
    found = sorted({text[:_PREFIX_BYTES] for text in texts})
    return re.compile(b"|".join(map(re.escape, found))) if found else None


def _matches(prefix: re.Pattern[bytes] | None, text: bytes, start: int, end: int) -> Iterator[int]:
    """Yield the positions of `prefix`, overlapping ones too, that begin in start..end."""
    while prefix is not None and start < end:
        # In windows, since other threads do not run during a search.
        window_end = min(start + _WINDOW_BYTES, end)
        found = prefix.search(text, start, window_end + _PREFIX_BYTES - 1)
        if found is None or found.start() >= window_end:
            start = window_end
        else:
            yield found.start()
            start = found.start() + 1
