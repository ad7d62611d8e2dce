"""Which kernels compute attention and products on a CPU: ours (csrc/) or ggml's."""

import os
from collections.abc import Callable
from typing import Final

from llamabind._capi import shim
from llamabind.errors import ContextCreateError
from llamabind.native import backend

ATTENTION_VARIABLE: Final = "LLAMABIND_ATTENTION"
"""Selects the attention, such as "ggml", for comparisons; by default the fastest on this CPU."""

PRODUCTS_VARIABLE: Final = "LLAMABIND_PRODUCTS"
"""Selects the products with quantised weights in the same way."""

_ATTENTION_NAMES: Final = ("avx512", "avx2", "ggml")
_PRODUCTS_NAMES: Final = ("avx512vnni", "avxvnni", "avx2", "ggml")


def attention_variants() -> tuple[str, ...]:
    """Return the kinds that this library and CPU support, fastest first; the last is "ggml"."""
    return tuple(name for name in _ATTENTION_NAMES if shim.lb_has_attention(name.encode()))


def product_variants() -> tuple[str, ...]:
    """Return the kinds that this library and CPU support, fastest first; the last is "ggml"."""
    return tuple(name for name in _PRODUCTS_NAMES if shim.lb_has_products(name.encode()))


def attention_in_use() -> str:
    """Return the name of the attention that new contexts get on the CPU.

    Raises ContextCreateError if the environment names one that is not available.
    """
    return _in_use(ATTENTION_VARIABLE, attention_variants(), shim.lb_attention_name)


def products_in_use() -> str:
    """Return the name of the products that new contexts get on the CPU.

    Raises ContextCreateError if the environment names one that is not available.
    """
    return _in_use(PRODUCTS_VARIABLE, product_variants(), shim.lb_products_name)


def _in_use(variable: str, variants: tuple[str, ...], best: Callable[[], bytes]) -> str:
    wanted = os.environ.get(variable, "")
    if wanted and wanted not in variants:
        raise ContextCreateError(
            f"{variable} is {wanted!r}, but this library on this CPU has only: "
            f"{', '.join(variants)}; unset it, or set it to one of these",
            "invalid_parameter",
        )
    # With an evaluation callback the host would wait for each part of a graph that a GPU computes.
    if backend.has_gpu():
        return "ggml"
    return wanted or best().decode()
