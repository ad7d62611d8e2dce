"""likeliest_token: the greedy choice of a draft token, if it is likely enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def likeliest_token(logits: NDArray[np.float32], p_min: float) -> int | None:
    """Return the index of the largest of the `logits` (n_vocab); None if its probability is below
    `p_min`. With 0 no probability is computed.
    """
    import numpy as np

    token = int(logits.argmax())
    if p_min > 0.0 and 1.0 / float(np.exp(logits - logits[token]).sum()) < p_min:
        return None
    return token
