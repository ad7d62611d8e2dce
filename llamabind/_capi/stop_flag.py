"""StopFlag: an integer that native code reads while another thread may set it."""

import ctypes

from llamabind._capi.types import Ptr


class StopFlag:
    """Asks native code to stop what it computes. Any thread."""

    def __init__(self) -> None:
        self._value = ctypes.c_int32(0)

    def set(self) -> None:
        """Ask for the stop; it cannot be taken back."""
        self._value.value = 1

    @property
    def is_set(self) -> bool:
        """Whether the stop was asked for."""
        return self._value.value != 0

    @property
    def pointer(self) -> Ptr[ctypes.c_int32]:
        """The argument for native code; the flag must outlive the call."""
        return ctypes.pointer(self._value)
