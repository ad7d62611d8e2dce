"""Reads and frees text that the shim returns."""

import ctypes

from llamabind._capi import shim
from llamabind._capi.shim import TextHandle
from llamabind.errors import HostMemoryError


def take_text(text: TextHandle) -> bytes:
    """Return the bytes of a `char *` that libllamabind allocated, and free it."""
    try:
        return ctypes.string_at(text)
    finally:
        shim.lb_string_free(text)


def last_error() -> str:
    """Return the message of this thread's last failed call of libllamabind.

    Raises HostMemoryError in its place if an allocation failed: that is no fault of the input that
    the caller's own error would name.
    """
    message = (shim.lb_last_error() or b"").decode(errors="replace")
    if shim.lb_last_status() == shim.lb_status.LB_NO_MEMORY:
        raise HostMemoryError(f"not enough host memory: {message}")
    return message
