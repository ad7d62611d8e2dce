"""The common prefix of two token sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from array import array


def common_prefix(a: array[int], b: array[int]) -> int:
    """Return the length of the common prefix of `a` and `b` in tokens."""
    n = min(len(a), len(b))
    if n == 0 or a[0] != b[0]:
        return 0
    import numpy as np

    different = np.frombuffer(a, dtype=np.int32, count=n) != np.frombuffer(
        b, dtype=np.int32, count=n
    )
    first = int(different.argmax())
    return first if different[first] else n
