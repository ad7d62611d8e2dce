"""HeaderStore: remembers the headers of model files, also in a file for the next start."""

import os
from pathlib import Path
from typing import Annotated, Final

import msgspec

from llamabind import GgufHeader
from server.cache_files import read_cache_file, write_cache_file

_FORMAT: Final = 1
_MAX_KNOWN: Final = 512
_MAX_BYTES: Final = 32 << 20
# Of all texts in a header together; a usual chat template has 10 kB.
_MAX_TEXT: Final = 1 << 17


class Stamp(msgspec.Struct, frozen=True, array_like=True):
    """What tells that a file was not replaced or written since its header was read."""

    n_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, stat: os.stat_result) -> "Stamp":
        """The stamp of a file."""
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


class _Entry(msgspec.Struct, frozen=True):
    path: str
    stamp: Stamp
    header: GgufHeader


class _Document(msgspec.Struct, frozen=True):
    """The file: the headers that were read last come last."""

    format: Annotated[int, msgspec.Meta(ge=_FORMAT, le=_FORMAT)]
    entries: list[_Entry]


class HeaderStore:
    """The headers of the latest 512 files. Blocking; one thread at a time.

    A vocabulary of 128,000 tokens takes 50 ms to skip, and the first request waits for the headers
    of all models. Without `file` nothing is remembered.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known: dict[str, _Entry] | None = None
        self._is_changed = False

    def get(self, path: Path, stamp: Stamp) -> GgufHeader | None:
        """The header of a file that has not changed, or None."""
        found = self._entries().get(os.fspath(path))
        return found.header if found is not None and found.stamp == stamp else None

    def put(self, path: Path, stamp: Stamp, header: GgufHeader) -> None:
        """Remember a header that was read, until `save` in memory only."""
        texts = (value for value in header.metadata.values() if isinstance(value, str))
        if self._file is None or sum(map(len, texts)) > _MAX_TEXT:
            return
        name, known = os.fspath(path), self._entries()
        known.pop(name, None)
        known[name] = _Entry(name, stamp, header)
        self._is_changed = True

    def save(self) -> None:
        """Write the file if a header was put since the last time. A failure is only logged."""
        if self._file is None or not self._is_changed:
            return
        self._is_changed = False
        latest = list(self._entries().values())[-_MAX_KNOWN:]
        write_cache_file(self._file, _Document(_FORMAT, latest))

    def _entries(self) -> dict[str, _Entry]:
        if self._known is None:
            document = None
            if self._file is not None:
                document = read_cache_file(self._file, _Document, _MAX_BYTES)
            self._known = {entry.path: entry for entry in document.entries} if document else {}
        return self._known
