"""Guesses from a request's own text: what followed the last words when they occurred before."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llamabind.scheduling.sequence import Sequence

_MAX_CANDIDATES = 8
"""Earlier occurrences that are compared, newest first."""

_MAX_MATCH = 64
_MAX_INDEXED = 1024
"""Tokens indexed per guess, half a millisecond: a long prompt is indexed over several steps."""


class NgramIndex:
    """Finds the longest earlier occurrence of the end of one growing token list.

    Occurrences of the same `size` tokens are chained from the newest to the oldest, as in LZ77
    compressors: a token costs one dictionary entry to index, and a guess looks at a few candidates
    however long the text is.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._newest: dict[int, int] = {}
        self._previous = array("i")

    def guess(self, tokens: array[int], n: int) -> list[int]:
        """Return up to `n` tokens that may follow `tokens`, the list of the last call and more.

        No more than the length of the match: the longer the text repeats, the more is guessed.
        """
        self._extend(tokens)
        end, length = self._longest_match(tokens)
        draft: list[int] = []
        for position in range(end, end + min(n, length)):
            # A text that repeats while it is written runs on into the draft itself.
            beyond = position - len(tokens)
            draft.append(tokens[position] if beyond < 0 else draft[beyond])
        return draft

    def _extend(self, tokens: array[int]) -> None:
        """Index the positions that follow `size` tokens, all but the end of the list."""
        first = len(self._previous) + self._size
        for end in range(first, min(len(tokens), first + _MAX_INDEXED)):
            key = self._key(tokens, end)
            self._previous.append(self._newest.get(key, -1))
            self._newest[key] = end

    def _longest_match(self, tokens: array[int]) -> tuple[int, int]:
        """Return where the best earlier occurrence of the list's end ends, and its length."""
        best, best_length = 0, 0
        if len(tokens) <= self._size:
            return best, best_length
        end = self._newest.get(self._key(tokens, len(tokens)), -1)
        for _ in range(_MAX_CANDIDATES):
            if end < 0 or best_length == _MAX_MATCH:
                break
            length = _match_length(tokens, end)
            if length >= self._size and length > best_length:
                best, best_length = end, length
            end = self._previous[end - self._size]
        return best, best_length

    def _key(self, tokens: array[int], end: int) -> int:
        # Only a hash: whoever finds a candidate compares the tokens themselves.
        return hash(tokens[end - self._size : end].tobytes())


def _match_length(tokens: array[int], end: int) -> int:
    """Return how many tokens before `end` equal those at the end of the list."""
    n, length = len(tokens), 0
    longest = min(end, _MAX_MATCH)
    while length < longest and tokens[end - 1 - length] == tokens[n - 1 - length]:
        length += 1
    return length


class NgramDrafter:
    """A Drafter that looks things up in each request's own tokens and computes nothing."""

    is_free = True
    seconds_per_token = 0.0

    def __init__(self, size: int) -> None:
        self._size = size
        self._indexes: dict[Sequence, NgramIndex] = {}

    def draft(self, wishes: list[tuple[Sequence, int]]) -> list[list[int]]:
        """Guess what follows each sequence, at most as many tokens as wished."""
        return [self._index(sequence).guess(sequence.tokens, n) for sequence, n in wishes]

    def forget(self, sequence: Sequence) -> None:
        """Free the index of a sequence that has ended."""
        self._indexes.pop(sequence, None)

    def close(self) -> None:
        """Free all indexes."""
        self._indexes.clear()

    def _index(self, sequence: Sequence) -> NgramIndex:
        index = self._indexes.get(sequence)
        if index is None:
            index = self._indexes[sequence] = NgramIndex(self._size)
        return index
