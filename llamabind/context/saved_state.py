"""SavedState: a copy of the memory of a context or of one sequence."""

from __future__ import annotations

import errno
import mmap
import struct
import sys
import zlib
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, Final

from llamabind.errors import StateError

if TYPE_CHECKING:
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

_MAGIC: Final = b"LBSTATE1"
_HEADER: Final = struct.Struct("<8sIIQ")  # magic, kind and flags, CRC-32 of kind and data, length
_SEQUENCE_BIT: Final = 1 << 31

_POPULATE_READ: Final = 22  # MADV_POPULATE_READ of linux/mman.h, since Linux 5.14
# An older kernel, or a file system without mappings.
_UNMAPPABLE: Final = (errno.EINVAL, errno.ENODEV, errno.EACCES, errno.EPERM)

# LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY of llama.h: only what cannot be cut, SWA or recurrent state.
PARTIAL_ONLY: Final = 1


@dataclass(frozen=True, slots=True)
class SavedState:
    """Returned by Context.state_save and state_seq_save, accepted by state_load and state_seq_load.

    `data` has llama.cpp's own format, shape (n,). It fits only a context of the same model with the
    same cache types and layout. Native code trusts the numbers in it, so bytes from outside go
    through from_bytes, which detects truncation and damage but not a forged state.
    """

    data: NDArray[np.uint8]
    is_sequence: bool
    flags: int = 0

    def __post_init__(self) -> None:
        # Native code aborts on a state whose flags claim that it is on a device.
        if self.flags not in (0, PARTIAL_ONLY):
            raise StateError(f"flags must be 0 or {PARTIAL_ONLY}, but got {self.flags!r}")

    @property
    def n_bytes(self) -> int:
        """The size of the data."""
        return int(self.data.size)

    @property
    def header(self) -> bytes:
        """What precedes `data` in a file; it has a checksum over all of `data`."""
        kind = self.flags | (_SEQUENCE_BIT if self.is_sequence else 0)
        return _HEADER.pack(_MAGIC, kind, _checksum(kind, self.data), self.data.size)

    def to_bytes(self) -> bytes:
        """Return the state with a header and checksum, for a file."""
        return self.header + self.data.tobytes()

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Return the state that to_bytes wrote; StateError if it is truncated or damaged."""
        return cls.read(BytesIO(raw), len(raw))

    @classmethod
    def read(cls, file: BinaryIO, n_bytes: int, *, maps: bool = False) -> Self:
        """Return the state that to_bytes wrote from the next `n_bytes` of a file.

        With `maps` the data of a file on a disk may be the file itself, mapped into memory: use it
        soon, since it takes the disk's space even after the file is removed. StateError if it is
        truncated or damaged. Raises OSError and MemoryError.
        """
        raw = file.read(_HEADER.size) if n_bytes >= _HEADER.size else b""
        if len(raw) < _HEADER.size:
            raise StateError(f"a saved state has a header of {_HEADER.size} bytes, got {n_bytes}")
        magic, kind, checksum, length = _HEADER.unpack(raw)
        if magic != _MAGIC:
            raise StateError("this is not a saved state of llamabind")
        # Before memory is allocated for it.
        if n_bytes - _HEADER.size != length:
            n_held = n_bytes - _HEADER.size
            raise StateError(f"the saved state is truncated: {n_held} of {length} bytes")
        data = _map(file, length) if maps else None
        if data is None:
            data = _read(file, length)
        if data.size < length or _checksum(kind, data) != checksum:
            raise StateError("the saved state is damaged: its checksum does not match")
        return cls(data, bool(kind & _SEQUENCE_BIT), kind & ~_SEQUENCE_BIT)

    def in_memory(self) -> Self:
        """Return a state with a copy of the data in memory of its own."""
        return replace(self, data=self.data.copy())


def _read(file: BinaryIO, n_bytes: int) -> NDArray[np.uint8]:
    """Return the next `n_bytes` of a file, fewer at its end."""
    import numpy as np

    data = np.empty(n_bytes, np.uint8)
    n_read = 0
    while n_read < n_bytes and (n := file.readinto(data.data[n_read:])):  # type: ignore[attr-defined]
        n_read += n
    return data[:n_read]


def _map(file: BinaryIO, n_bytes: int) -> NDArray[np.uint8] | None:
    """Return the next `n_bytes` of a file without a copy; None if the system cannot do that.

    All pages are read now: a disk that fails is an OSError here, not a signal at a later access.
    """
    import numpy as np

    if sys.platform != "linux" or n_bytes == 0:
        return None
    offset = file.tell()
    try:
        whole = mmap.mmap(file.fileno(), offset + n_bytes, prot=mmap.PROT_READ)
        whole.madvise(_POPULATE_READ)
    except (ValueError, OSError) as error:
        if isinstance(error, ValueError) or error.errno in _UNMAPPABLE:
            return None
        raise
    return np.frombuffer(whole, np.uint8, n_bytes, offset)


def _checksum(kind: int, data: NDArray[np.uint8]) -> int:
    return zlib.crc32(data.data, zlib.crc32(struct.pack("<I", kind)))
