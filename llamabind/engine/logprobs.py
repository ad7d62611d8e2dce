"""Log-probabilities of tokens, computed from the raw logits by the shim."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from llamabind._capi import shim
from llamabind._capi.shim import lb_status
from llamabind._capi.shim_text import last_error
from llamabind.errors import LlamaError
from llamabind.request import TokenLogprob

if TYPE_CHECKING:
    from collections.abc import Sequence


def top_logprobs(
    addresses: Sequence[int], tokens: Sequence[int], n_vocab: int, k: int
) -> list[TokenLogprob]:
    """Return each token's log-probability and those of the `k` most likely tokens.

    Each of `addresses` points to n_vocab floats (Context.logits_ptr). Equal values are ordered by
    token id, so the result does not depend on the machine (lb_top_logprobs of csrc/llamabind.h).
    """
    n = len(addresses)
    assert n == len(tokens), "one token for each row of logits"
    if n == 0:
        return []
    k = min(k, n_vocab)
    ids = (ctypes.c_int32 * (n * k))()
    values = (ctypes.c_float * (n * k))()
    own = (ctypes.c_float * n)()
    status = shim.lb_top_logprobs(
        (ctypes.c_void_p * n)(*addresses),
        n,
        n_vocab,
        k,
        (ctypes.c_int32 * n)(*tokens),
        ids,
        values,
        own,
    )
    if status != lb_status.LB_OK:
        raise LlamaError(last_error())
    return [
        TokenLogprob(
            token,
            own[i],
            tuple(zip(ids[i * k : i * k + k], values[i * k : i * k + k], strict=True)),
        )
        for i, token in enumerate(tokens)
    ]
