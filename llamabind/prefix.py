"""What two token sequences begin with in common, and where the KV of such a beginning lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from array import array

    from llamabind.host_cache import StoredState
    from llamabind.slots import Slot


def common_prefix(a: array[int], b: array[int]) -> int:
    """Return how many tokens `a` and `b` begin with in common."""
    n = min(len(a), len(b))
    if n == 0 or a[0] != b[0]:
        return 0
    different = np.frombuffer(a, dtype=np.int32, count=n) != np.frombuffer(
        b, dtype=np.int32, count=n
    )
    first = int(different.argmax())
    return first if different[first] else n


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first `n` tokens of a request, and how to get them without computing.

    They are in the cells of `slot`, or in `full`, a whole sequence in host memory that is restored
    and then cut. Where the memory cannot be cut at `n`, `partial` brings what cannot be cut as it
    was there. `n` 0 is: compute everything.
    """

    n: int = 0
    slot: Slot | None = None
    full: StoredState | None = None
    partial: StoredState | None = None
