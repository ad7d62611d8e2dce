"""Which attention the contexts on a CPU use: our kernel (csrc/attention.cpp) or ggml's."""

import os
from typing import Final

from llamabind._capi import shim
from llamabind.errors import ContextCreateError
from llamabind.native import backend

ATTENTION_VARIABLE: Final = "LLAMABIND_ATTENTION"
"""Selects the attention, such as "ggml", for comparisons; by default the fastest on this CPU."""

_NAMES: Final = ("avx512", "avx2", "ggml")


def attention_variants() -> tuple[str, ...]:
    """Return the kinds that this library and CPU support, fastest first; the last is "ggml"."""
    return tuple(name for name in _NAMES if shim.lb_has_attention(name.encode()))


def attention_in_use() -> str:
    """Return the name of the attention that new contexts get on the CPU.

    Raises ContextCreateError if the environment names one that is not available.
    """
    wanted = os.environ.get(ATTENTION_VARIABLE, "")
    variants = attention_variants()
    if wanted and wanted not in variants:
        raise ContextCreateError(
            f"{ATTENTION_VARIABLE} is {wanted!r}, but this library on this CPU has only: "
            f"{', '.join(variants)}; unset it, or set it to one of these",
            "invalid_parameter",
        )
    # With an evaluation callback the host would wait for each part of a graph that a GPU computes.
    if backend.has_gpu():
        return "ggml"
    return wanted or shim.lb_attention_name().decode()
