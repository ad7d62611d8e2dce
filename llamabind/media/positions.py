"""Positions: where tokens stand for the model, counted apart from the cells that they take.

With M-RoPE (Qwen2-VL and its kin) a picture of nx * ny vectors takes as many cells, but all of them
stand at one point of time, and what follows stands max(nx, ny) positions behind it. The picture's
pseudo-tokens say so: whoever has the tokens of a sequence knows its positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from array import array

HASH_BITS: Final = 29
"""Bits of a pseudo-token that are free; the two above them and the sign are taken."""

_INSIDE: Final = 1 << HASH_BITS
_WITHOUT: Final = 1 << (HASH_BITS + 1)


def pseudo_token(number: int, place: int = 0, n_positions: int | None = None) -> int:
    """Return the pseudo-token of a number of HASH_BITS bits.

    With `n_positions` it is that of the vector at `place` in a picture that takes so many, as long
    as it is in the memory as a whole.
    """
    if n_positions is None or place == 0:
        return ~number
    # The first ones count the picture's positions, one each.
    return ~(number | _INSIDE | (_WITHOUT if place >= n_positions else 0))


def mark_of(token: int) -> int:
    """Return what of a token says how it counts, without its number."""
    return max(~token, 0) >> HASH_BITS


def count_positions(tokens: array[int], n: int) -> int:
    """Return the position at which the token of index `n` stands, or the next one were it text.

    `n` is a border, see last_border().
    """
    if n == 0:
        return 0
    import numpy as np  # here: importing requests must not cost it

    counted = np.frombuffer(tokens, np.int32, n) >= -_WITHOUT
    return int(np.count_nonzero(counted))


def last_border(tokens: array[int], n: int) -> int:
    """Return the largest index up to `n` at which a memory of `tokens` can be cut: none is inside
    of a picture whose vectors stand at one point of time.
    """
    while n < len(tokens) and tokens[n] < -_INSIDE:
        n -= 1
    return n


def newest_position(tokens: array[int]) -> int:
    """Return what llama.cpp knows as the last position of a memory of `tokens`; -1 for none."""
    if not tokens:
        return -1
    return count_positions(tokens, last_border(tokens, len(tokens) - 1))
