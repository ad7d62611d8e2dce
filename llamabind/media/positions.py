"""Positions of tokens in a sequence, which can differ from the number of KV cells before them.

With M-RoPE (Qwen2-VL and its relatives) an image of nx * ny vectors takes nx * ny cells, but all of
them share one time position, and the token after the image is max(nx, ny) positions later. The
image's pseudo-tokens encode this, so positions can be computed from the tokens alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from array import array

HASH_BITS: Final = 29
"""Bits of a pseudo-token that hold a hash; the two bits above and the sign have a meaning."""

_INSIDE: Final = 1 << HASH_BITS  # not an M-RoPE image's first vector: no border before it
_NO_POSITION: Final = 1 << (HASH_BITS + 1)  # a vector that adds no position to the sequence


def pseudo_token(number: int, index: int = 0, n_positions: int | None = None) -> int:
    """Return the pseudo-token of a number of HASH_BITS bits.

    With `n_positions` it is that of the vector with index `index` in an image that takes
    `n_positions` positions. These count correctly only for the whole image.
    """
    if n_positions is None or index == 0:
        return ~number
    # The first n_positions vectors count one position each, the others none.
    return ~(number | _INSIDE | (_NO_POSITION if index >= n_positions else 0))


def position_bits(token: int) -> int:
    """Return the bits of a token that say how it counts, without the hash."""
    return max(~token, 0) >> HASH_BITS


def count_positions(tokens: array[int], n: int) -> int:
    """Return the number of positions that the first `n` tokens take: the position of the next one.

    `n` is a border, see last_border().
    """
    if n == 0:
        return 0
    import numpy as np  # here, so that importing requests does not import it

    counted = np.frombuffer(tokens, np.int32, n) >= -_NO_POSITION
    return int(np.count_nonzero(counted))


def last_border(tokens: array[int], n: int) -> int:
    """Return the largest index up to `n` at which a sequence of `tokens` can be cut, which is not
    inside an M-RoPE image: all its vectors share one time position.
    """
    while n < len(tokens) and tokens[n] < -_INSIDE:
        n -= 1
    return n


def newest_position(tokens: array[int]) -> int:
    """Return the position that llama.cpp reports as the last one of `tokens`; -1 without tokens."""
    if not tokens:
        return -1
    return count_positions(tokens, last_border(tokens, len(tokens) - 1))
