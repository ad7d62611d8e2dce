"""Reads an untrusted file in order, through a buffer ("window"), never past its end.

It does not use mmap: a file that shrinks while it is mapped kills the process with SIGBUS.
"""

import os
import stat
import struct

from llamabind.errors import GgufError
from llamabind.system.closing import Closing

U32 = struct.Struct("<I")
U64 = struct.Struct("<Q")
_WINDOW_BYTES = 1 << 20


class BoundedFile(Closing):
    """Bounded reads from one file through a window; raises GgufError at the end of the file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # O_NONBLOCK: a named pipe that took the file's place must not hang the caller.
        self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise GgufError("this is not a regular file")
        self.size = status.st_size
        self._start = 0
        self._window = b""
        self._offset = 0

    @property
    def position(self) -> int:
        """Bytes from the start of the file."""
        return self._start + self._offset

    @property
    def remaining(self) -> int:
        """Bytes up to the end of the file."""
        return self.size - self.position

    def number(self, layout: struct.Struct) -> int:
        """Read one unsigned integer."""
        return int(self.scalar(layout))

    def scalar(self, layout: struct.Struct) -> int | float | bool:
        """Read one value of a fixed size."""
        self._fill(layout.size)
        value: int | float | bool = layout.unpack_from(self._window, self._offset)[0]
        self._offset += layout.size
        return value

    def read(self, count: int) -> bytes:
        """Return `count` bytes, which the caller must limit."""
        self._fill(count)
        start = self._offset
        self._offset += count
        return self._window[start : self._offset]

    def length(self, what: str) -> int:
        """Read the length of the string that follows; GgufError if it exceeds the file."""
        length = self.number(U64)
        if length > self.remaining:
            raise GgufError(f"{what} claims {length} bytes, more than the file has left")
        return length

    def text(self, limit: int, what: str) -> str:
        """Read one string of at most `limit` bytes."""
        length = self.length(what)
        if length > limit:
            raise GgufError(f"{what} claims {length} bytes, more than the limit of {limit}")
        return self.read(length).decode("utf-8", "replace")

    def skip(self, count: int) -> None:
        """Move the position forward without reading."""
        if count > self.remaining:
            raise GgufError(f"the file ends early: {count} more bytes were expected")
        self._offset += count
        if self._offset > len(self._window):
            self._start, self._window, self._offset = self.position, b"", 0

    def skip_strings(self, count: int) -> None:
        """Skip `count` strings; the only loop here that must be fast (vocabularies have 128k)."""
        unpack = U64.unpack_from
        while count:
            self._fill(U64.size)
            window, offset = self._window, self._offset
            last = len(window) - U64.size
            while count and offset <= last:
                offset += 8 + unpack(window, offset)[0]
                count -= 1
            self.skip(offset - self._offset)

    def _fill(self, count: int) -> None:
        """Ensure that the window has at least `count` bytes from the current offset on."""
        if self._offset + count <= len(self._window):
            return
        if count > self.remaining:
            raise GgufError(f"the file ends early: it is truncated at {self.size} bytes")
        start = self.position
        os.lseek(self._fd, start, os.SEEK_SET)
        window = b""
        while len(window) < count:
            # The file may have shrunk since fstat.
            if not (piece := os.read(self._fd, max(_WINDOW_BYTES, count) - len(window))):
                raise GgufError("the file ends early: it became shorter while it was read")
            window += piece
        self._start, self._window, self._offset = start, window, 0

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
