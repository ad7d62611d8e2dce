"""Text that the shim returns: read once, freed at once."""

import ctypes

from llamabind._capi import shim
from llamabind._capi.shim import TextHandle


def take_text(text: TextHandle) -> bytes:
    """The bytes of a `char *` that libllamabind allocated, which is freed."""
    try:
        return ctypes.string_at(text)
    finally:
        shim.lb_string_free(text)


def last_error() -> str:
    """Why this thread's last failing call of libllamabind failed."""
    return shim.lb_last_error().decode(errors="replace")
