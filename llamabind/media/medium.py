"""What stands in a prompt where a picture or a sound is: vectors instead of tokens."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from llamabind.errors import InvalidParameterError
from llamabind.media.positions import HASH_BITS, mark_of, pseudo_token

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

Grid: TypeAlias = tuple[int, int]
"""How many vectors a picture has side by side and in a column, where positions say that (M-RoPE).

They come row by row. It takes as many positions as its longer side has vectors.
"""

# Nobody can make a picture whose pseudo-tokens are those of another.
_KEY = os.urandom(32)
_NUMBERS = (1 << HASH_BITS) - 1


@dataclass(frozen=True, slots=True, eq=False)
class MediaVectors:
    """Part of an encoded medium: `embeddings`, shape (n_tokens, n_embd_inp of the text model).

    Unless `is_causal` they see each other in both directions and are decoded all at once. Without
    a `grid` they stand one behind the other as tokens do.
    """

    embeddings: NDArray[np.float32]
    is_causal: bool = True
    grid: Grid | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EncodedMedium:
    """What a text model reads of one picture or sound: vectors, and tokens around and between them.

    `digest` is of the medium's own bytes: equal media share their KV.
    """

    digest: bytes
    pieces: tuple[tuple[int, ...] | MediaVectors, ...]

    @property
    def n_tokens(self) -> int:
        """How many places of a prompt it takes."""
        return sum(
            len(piece.embeddings if isinstance(piece, MediaVectors) else piece)
            for piece in self.pieces
        )

    @property
    def n_at_once(self) -> int:
        """How many tokens one decode must take: the largest part that is not causal."""
        return max(
            (
                len(piece.embeddings)
                for piece in self.pieces
                if isinstance(piece, MediaVectors) and not piece.is_causal
            ),
            default=0,
        )

    @property
    def n_bytes(self) -> int:
        """The size of all its vectors."""
        return sum(
            piece.embeddings.nbytes for piece in self.pieces if isinstance(piece, MediaVectors)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Medium:
    """Vectors in place of the prompt's tokens from index `start` on; see MediaVectors."""

    start: int
    embeddings: NDArray[np.float32]
    is_causal: bool = True
    grid: Grid | None = None

    @property
    def end(self) -> int:
        """The index that follows its last token."""
        return self.start + len(self.embeddings)

    @property
    def n_positions(self) -> int:
        """How many positions it takes: what follows stands so far behind its first one."""
        return len(self.embeddings) if self.grid is None else max(self.grid)

    def positions(self, first: int, start: int, end: int) -> NDArray[np.int32]:
        """Return where the vectors in place of the prompt's tokens `start` to `end` stand with
        M-RoPE, if the medium begins at position `first`.

        Shape (4, end - start): time, row, column, and what libmtmd leaves 0 for pictures.
        """
        import numpy as np  # here: a request without media must not cost it

        places = np.arange(start - self.start, end - self.start, dtype=np.int32)
        if self.grid is None:
            return np.tile(first + places, (4, 1))
        nx, _ = self.grid
        nothing = np.zeros_like(places)
        return np.stack((first + nothing, first + places // nx, first + places % nx, nothing))

    def limit(self, start: int, n: int) -> int:
        """Return how many of the `n` tokens from index `start` on one decode may compute.

        Text ends where the medium begins; one that is not causal is computed whole, `n` or not.
        """
        if start < self.start:
            return min(n, self.start - start)
        return min(n, self.end - start) if self.is_causal else self.end - start


def pseudo_tokens(digest: bytes, first: int, n: int, grid: Grid | None = None) -> list[int]:
    """Return `n` negative numbers for the places of a medium from its `first` one on.

    They make prefixes comparable: equal media have equal ones, others differ (by a hash of 29 bits
    for each place, under a key of this process). Those of a `grid` say how many positions it takes.
    """
    n_positions = None if grid is None else max(grid)
    return [
        pseudo_token(
            _hash(digest + (first + place).to_bytes(8, "little")) & _NUMBERS, place, n_positions
        )
        for place in range(n)
    ]


def lay_out(
    parts: Iterable[Sequence[int] | EncodedMedium],
) -> tuple[tuple[int, ...], tuple[Medium, ...]]:
    """Return the `prompt_tokens` and the `media` of a request whose prompt has these parts."""
    tokens: list[int] = []
    media: list[Medium] = []
    for part in parts:
        if not isinstance(part, EncodedMedium):
            tokens.extend(part)
            continue
        n_vectors = 0
        for piece in part.pieces:
            if isinstance(piece, MediaVectors):
                media.append(Medium(len(tokens), piece.embeddings, piece.is_causal, piece.grid))
                n = len(piece.embeddings)
                tokens += pseudo_tokens(part.digest, n_vectors, n, piece.grid)
                n_vectors += n
            else:
                tokens += piece
    return tuple(tokens), tuple(media)


def check_media(prompt_tokens: Sequence[int], media: Sequence[Medium]) -> None:
    """Refuse media that do not lie in the prompt one behind the other, with a text at its end."""
    end = 0
    for medium in media:
        shape = medium.embeddings.shape
        if medium.embeddings.dtype != "float32" or len(shape) != 2 or 0 in shape:
            raise InvalidParameterError(
                "media",
                "expected float32 embeddings of shape (n_tokens, n_embd), "
                f"but got {medium.embeddings.dtype} of shape {shape}",
            )
        if medium.start < end:
            raise InvalidParameterError(
                "media", f"the one at {medium.start} overlaps the one before"
            )
        end = medium.end
        _check_places(prompt_tokens[medium.start : end], medium)
    if end >= len(prompt_tokens):
        raise InvalidParameterError(
            "prompt",
            "must end with text, not with an image or audio: the answer follows its last token",
        )


def _check_places(tokens: Sequence[int], medium: Medium) -> None:
    n, grid = len(medium.embeddings), medium.grid
    if grid is not None and (min(grid) < 1 or grid[0] * grid[1] != n):
        raise InvalidParameterError(
            "media", f"{n} vectors do not form a grid of {grid[0]} x {grid[1]}"
        )
    n_positions = None if grid is None else max(grid)
    marks = [mark_of(pseudo_token(0, place, n_positions)) for place in range(len(tokens))]
    if any(token >= 0 for token in tokens) or [mark_of(token) for token in tokens] != marks:
        raise InvalidParameterError(
            "media", f"prompt tokens {medium.start} to {medium.end - 1} are not its pseudo-tokens"
        )


def text_tokens(prompt_tokens: Sequence[int], media: Sequence[Medium]) -> tuple[int, ...]:
    """Return the prompt's tokens without the places of media."""
    tokens: list[int] = []
    start = 0
    for medium in media:
        tokens += prompt_tokens[start : medium.start]
        start = medium.end
    return (*tokens, *prompt_tokens[start:])


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=4, key=_KEY).digest(), "little")
