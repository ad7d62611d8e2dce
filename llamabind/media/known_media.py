"""KnownMedia: which image or audio the pseudo-tokens of a slot stand for, to save it to a file.

Pseudo-tokens are keyed per process: another process makes its own from the hash of the medium's
bytes, which a slot file therefore contains.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from llamabind.errors import StateError
from llamabind.media.medium import pseudo_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llamabind.media.medium import Grid, Medium

_MAX_KNOWN = 256


class SavedMedium(msgspec.Struct, frozen=True, kw_only=True):
    """The medium of the tokens from `start` on: they stand for `n_held` of its `n` vectors.

    `digest`, `first` and `grid` as in Medium.
    """

    start: int
    n_held: int
    n: int
    digest: bytes
    first: int
    grid: tuple[int, int] | None = None

    @property
    def end(self) -> int:
        """The index that follows its last token."""
        return self.start + self.n_held

    def tokens(self) -> list[int]:
        """Its pseudo-tokens in this process."""
        return pseudo_tokens(self.digest, self.first, self.n, self.grid)[: self.n_held]


class KnownMedia:
    """Remembers the media of the latest requests. Engine thread only."""

    def __init__(self) -> None:
        # By the first pseudo-token: hash, index of the first vector, number of vectors, grid.
        self._known: OrderedDict[int, tuple[bytes, int, int, Grid | None]] = OrderedDict()

    def remember(self, media: Iterable[Medium], tokens: Sequence[int]) -> None:
        """Note the media of a prompt with these tokens."""
        for medium in media:
            first = tokens[medium.start]
            n = len(medium.embeddings)
            self._known[first] = medium.digest, medium.first, n, medium.grid
            self._known.move_to_end(first)
        while len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)

    def find(self, tokens: array[int]) -> tuple[SavedMedium, ...]:
        """Return the media that `tokens` contain. Raises StateError for one that is forgotten."""
        found = []
        index = 0
        while index < len(tokens):
            if tokens[index] >= 0:
                index += 1
                continue
            medium = self._at(tokens, index)
            found.append(medium)
            index = medium.end
        return tuple(found)

    def _at(self, tokens: array[int], start: int) -> SavedMedium:
        known = self._known.get(tokens[start])
        if known is not None:
            digest, first, n, grid = known
            n_held = min(n, len(tokens) - start)
            medium = SavedMedium(
                start=start, n_held=n_held, n=n, digest=digest, first=first, grid=grid
            )
            if medium.tokens() == tokens[start : medium.end].tolist():
                return medium
        raise StateError(
            "the slot cannot be saved: it holds an image or audio that was sent too long ago, and "
            f"only the latest {_MAX_KNOWN} are known; send the request again, then save"
        )


def with_media(tokens: array[int], media: Sequence[SavedMedium]) -> array[int]:
    """Return the tokens with this process's pseudo-tokens for the media.

    Raises StateError for media that overlap or do not fit the tokens.
    """
    changed = tokens[:]
    end = 0
    for medium in media:
        is_whole = 0 < medium.n_held <= medium.n <= len(tokens) and medium.first >= 0
        is_grid = medium.grid is None or medium.grid[0] * medium.grid[1] == medium.n
        if medium.start < end or medium.end > len(tokens) or not is_whole or not is_grid:
            raise StateError("the state names images or audio that do not fit its tokens")
        end = medium.end
        changed[medium.start : end] = array("i", medium.tokens())
    return changed
