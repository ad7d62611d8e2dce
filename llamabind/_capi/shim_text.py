"""Reads and frees text that the shim returns."""

import ctypes

from llamabind._capi import shim
from llamabind._capi.shim import TextHandle


def take_text(text: TextHandle) -> bytes:
    """Return the bytes of a `char *` that libllamabind allocated, and free it."""
    try:
        return ctypes.string_at(text)
    finally:
        shim.lb_string_free(text)


def last_error() -> str:
    """Return the message of this thread's last failed call of libllamabind."""
    return shim.lb_last_error().decode(errors="replace")
