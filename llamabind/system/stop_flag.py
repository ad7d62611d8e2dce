"""StopFlag: an integer that native code reads while another thread may set it."""

from array import array


class StopFlag:
    """Asks native code to stop what it computes. Any thread."""

    def __init__(self) -> None:
        self.value = array("i", [0])
        """A C int, for native code; the flag must outlive the call."""

    def set(self) -> None:
        """Ask for the stop; it cannot be taken back."""
        self.value[0] = 1

    @property
    def is_set(self) -> bool:
        """Whether the stop was asked for."""
        return self.value[0] != 0
