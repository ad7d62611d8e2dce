"""NgramDrafter: drafts the tokens that followed an earlier occurrence of the last n tokens."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llamabind.scheduling.sequence import Sequence

_MAX_CANDIDATES = 8
"""The number of earlier occurrences that are compared, the newest first."""

_MAX_MATCH = 64
_MAX_INDEXED = 1024
"""Tokens indexed per draft, about 0.5 ms: a long prompt is indexed over several steps."""


class NgramIndex:
    """Finds the longest earlier occurrence of the end of one growing token list.

    Occurrences of the same `size` tokens are chained from the newest to the oldest, as in LZ77
    compressors: indexing a token adds one dictionary entry, and a draft compares only a few
    candidates, however long the text is.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._newest: dict[int, int] = {}
        self._previous = array("i")

    def draft(self, tokens: array[int], n: int) -> list[int]:
        """Return up to `n` tokens that may follow `tokens`, which extends the list of the last
        call.

        The draft is at most as long as the repeated text before it.
        """
        self._extend(tokens)
        end, length = self._longest_match(tokens)
        draft: list[int] = []
        for position in range(end, end + min(n, length)):
            # If the match overlaps the end of the list, the draft continues with its own tokens.
            beyond = position - len(tokens)
            draft.append(tokens[position] if beyond < 0 else draft[beyond])
        return draft

    def _extend(self, tokens: array[int]) -> None:
        """Index the positions after each `size` tokens, but not the end of the list."""
        first = len(self._previous) + self._size
        for end in range(first, min(len(tokens), first + _MAX_INDEXED)):
            key = self._key(tokens, end)
            self._previous.append(self._newest.get(key, -1))
            self._newest[key] = end

    def _longest_match(self, tokens: array[int]) -> tuple[int, int]:
        """Return the end and the length of the longest earlier occurrence of the list's last
        tokens.
        """
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
        # Hashes may collide; _match_length compares the tokens themselves.
        return hash(tokens[end - self._size : end].tobytes())


def _match_length(tokens: array[int], end: int) -> int:
    """Return how many tokens before `end` equal those at the end of the list."""
    n, length = len(tokens), 0
    longest = min(end, _MAX_MATCH)
    while length < longest and tokens[end - 1 - length] == tokens[n - 1 - length]:
        length += 1
    return length


class NgramDrafter:
    """A Drafter that searches each request's own tokens, without a model."""

    is_free = True
    seconds_per_token = 0.0

    def __init__(self, size: int) -> None:
        self._size = size
        self._indexes: dict[Sequence, NgramIndex] = {}

    def draft(self, wanted: list[tuple[Sequence, int]]) -> list[list[int]]:
        """Return a draft for each sequence in `wanted`, of at most the given number of tokens."""
        return [self._index(sequence).draft(sequence.tokens, n) for sequence, n in wanted]

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
