"""Images and audio in a prompt: vectors in place of tokens."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from llamabind.errors import InvalidParameterError
from llamabind.media.positions import HASH_BITS, position_bits, pseudo_token

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

Grid: TypeAlias = tuple[int, int]
"""Columns and rows of an image's vectors, for models whose positions have both (M-RoPE).

The vectors are in row-major order. The image takes max(columns, rows) positions.
"""

# Random, so that a client cannot craft an image with the pseudo-tokens of another one.
_KEY = os.urandom(32)
_NUMBERS = (1 << HASH_BITS) - 1


@dataclass(frozen=True, slots=True, eq=False)
class MediaVectors:
    """Part of an encoded medium: `embeddings`, shape (n_tokens, n_embd_inp of the text model).

    Unless `is_causal` they attend to each other in both directions and are decoded in one batch.
    Without a `grid` their positions are consecutive, as those of tokens.
    """

    embeddings: NDArray[np.float32]
    is_causal: bool = True
    grid: Grid | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EncodedMedium:
    """An image or audio as the text model reads it: vectors, with tokens around and between them.

    `digest` is the hash of the medium's bytes: equal media share their KV cells.
    """

    digest: bytes
    pieces: tuple[tuple[int, ...] | MediaVectors, ...]

    @property
    def n_tokens(self) -> int:
        """The number of prompt tokens it takes, vectors included."""
        return sum(
            len(piece.embeddings if isinstance(piece, MediaVectors) else piece)
            for piece in self.pieces
        )

    @property
    def n_at_once(self) -> int:
        """The tokens that one decode must accept: the size of the largest non-causal part."""
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
        """The size of all vectors in bytes."""
        return sum(
            piece.embeddings.nbytes for piece in self.pieces if isinstance(piece, MediaVectors)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Medium:
    """Vectors in place of the prompt's tokens from index `start` on; see MediaVectors.

    `digest` is that of the EncodedMedium, and `first` the index of the first vector in it.
    """

    start: int
    embeddings: NDArray[np.float32]
    is_causal: bool = True
    grid: Grid | None = None
    digest: bytes = b""
    first: int = 0

    @property
    def end(self) -> int:
        """The index that follows its last token."""
        return self.start + len(self.embeddings)

    @property
    def n_positions(self) -> int:
        """The distance from its first position to that of the token after it."""
        return len(self.embeddings) if self.grid is None else max(self.grid)

    def positions(self, first: int, start: int, end: int) -> NDArray[np.int32]:
        """Return the M-RoPE positions of the vectors for prompt tokens `start` to `end`, if the
        medium begins at position `first`.

        Shape (4, end - start): time, row, column, and a dimension that is 0 for images (libmtmd).
        """
        import numpy as np  # here, so that requests without media do not import it

        offsets = np.arange(start - self.start, end - self.start, dtype=np.int32)
        if self.grid is None:
            return np.tile(first + offsets, (4, 1))
        nx, _ = self.grid
        zeros = np.zeros_like(offsets)
        return np.stack((first + zeros, first + offsets // nx, first + offsets % nx, zeros))

    def limit(self, start: int, n: int) -> int:
        """Return how many of the `n` tokens from index `start` on one decode may compute.

        A batch holds text or vectors, so text ends where the medium begins. The rest of a
        non-causal medium is returned whole, even if it is more than `n`.
        """
        if start < self.start:
            return min(n, self.start - start)
        return min(n, self.end - start) if self.is_causal else self.end - start


def pseudo_tokens(digest: bytes, first: int, n: int, grid: Grid | None = None) -> list[int]:
    """Return `n` negative numbers that stand for a medium's vectors from index `first` on.

    They make prefixes comparable: equal media have equal numbers, others differ (a hash of 29 bits
    for each vector, keyed per process). With a `grid` they also encode the number of positions.
    """
    n_positions = None if grid is None else max(grid)
    return [
        pseudo_token(
            _hash(digest + (first + index).to_bytes(8, "little")) & _NUMBERS, index, n_positions
        )
        for index in range(n)
    ]


def lay_out(
    parts: Iterable[Sequence[int] | EncodedMedium],
) -> tuple[tuple[int, ...], tuple[Medium, ...]]:
    """Return `prompt_tokens` and `media` of a request whose prompt consists of these parts."""
    tokens: list[int] = []
    media: list[Medium] = []
    for part in parts:
        if not isinstance(part, EncodedMedium):
            tokens.extend(part)
            continue
        n_vectors = 0
        for piece in part.pieces:
            if isinstance(piece, MediaVectors):
                n = len(piece.embeddings)
                medium = Medium(
                    len(tokens),
                    piece.embeddings,
                    piece.is_causal,
                    piece.grid,
                    part.digest,
                    n_vectors,
                )
                media.append(medium)
                tokens += pseudo_tokens(part.digest, n_vectors, n, piece.grid)
                n_vectors += n
            else:
                tokens += piece
    return tuple(tokens), tuple(media)


def check_media(prompt_tokens: Sequence[int], media: Sequence[Medium]) -> None:
    """Raise InvalidParameterError unless the media are in order, do not overlap, lie within the
    prompt with their own pseudo-tokens, and text follows the last one.
    """
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
                "media", f"the medium at token {medium.start} overlaps the one before it"
            )
        end = medium.end
        _check_tokens(prompt_tokens[medium.start : end], medium)
    if end >= len(prompt_tokens):
        raise InvalidParameterError(
            "prompt",
            "must end with text, which the answer continues, but it ends with an image or audio",
        )


def _check_tokens(tokens: Sequence[int], medium: Medium) -> None:
    n, grid = len(medium.embeddings), medium.grid
    if grid is not None and (min(grid) < 1 or grid[0] * grid[1] != n):
        raise InvalidParameterError(
            "media", f"{n} vectors do not form a grid of {grid[0]} x {grid[1]}"
        )
    n_positions = None if grid is None else max(grid)
    marks = [position_bits(pseudo_token(0, index, n_positions)) for index in range(len(tokens))]
    if any(token >= 0 for token in tokens) or [position_bits(token) for token in tokens] != marks:
        raise InvalidParameterError(
            "media", f"prompt tokens {medium.start} to {medium.end - 1} are not its pseudo-tokens"
        )


def text_tokens(prompt_tokens: Sequence[int], media: Sequence[Medium]) -> tuple[int, ...]:
    """Return the prompt's tokens without the pseudo-tokens of media."""
    tokens: list[int] = []
    start = 0
    for medium in media:
        tokens += prompt_tokens[start : medium.start]
        start = medium.end
    return (*tokens, *prompt_tokens[start:])


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=4, key=_KEY).digest(), "little")
