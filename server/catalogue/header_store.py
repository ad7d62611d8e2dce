"""HeaderStore: remembers the headers of model files, also in a file for the next start."""

import os
from pathlib import Path
from typing import Annotated, Final

import msgspec

from llamabind import GgufHeader, __version__
from server.cache_files import read_cache_file, write_cache_file

_FORMAT: Final = 1
_MAX_KNOWN: Final = 512
# A usual header has 10 kB, nearly all of it the chat template.
_MAX_ENTRY_BYTES: Final = 1 << 17
_MAX_BYTES: Final = 16 << 20


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
    """The file: the headers that were read last come last.

    Those of another version of llamabind are read again: it may take other fields from a file.
    """

    format: Annotated[int, msgspec.Meta(ge=_FORMAT, le=_FORMAT)]
    version: str
    entries: list[_Entry]


class _Encoded(msgspec.Struct, frozen=True):
    """A _Document whose entries are encoded already."""

    format: int
    version: str
    entries: list[msgspec.Raw]


class HeaderStore:
    """The headers of at most 512 files, the latest that were read. Blocking; one thread at a time.

    A vocabulary of 128,000 tokens takes 50 ms to skip, and the first request waits for the headers
    of all models. Headers of more than 128 KiB are not kept, nor without `file` any.
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
        if self._file is None:
            return
        name, known = os.fspath(path), self._entries()
        known.pop(name, None)
        known[name] = _Entry(name, stamp, header)
        if len(known) > _MAX_KNOWN:
            del known[next(iter(known))]
        self._is_changed = True

    def save(self) -> None:
        """Write the file if a header was put since the last time. A failure is only logged."""
        if self._file is None or not self._is_changed:
            return
        self._is_changed = False
        latest: list[msgspec.Raw] = []
        n_bytes = 0
        for entry in reversed(self._entries().values()):
            encoded = _encoded(entry)
            if encoded is not None and n_bytes + len(encoded) <= _MAX_BYTES - _MAX_ENTRY_BYTES:
                latest.append(msgspec.Raw(encoded))
                n_bytes += len(encoded)
        write_cache_file(self._file, _Encoded(_FORMAT, __version__, latest[::-1]))

    def _entries(self) -> dict[str, _Entry]:
        if self._known is None:
            document = None
            if self._file is not None:
                document = read_cache_file(self._file, _Document, _MAX_BYTES)
            entries = document.entries if document and document.version == __version__ else ()
            self._known = {entry.path: entry for entry in entries}
        return self._known


def _encoded(entry: _Entry) -> bytes | None:
    """The entry as it is written; None if it is too large, or its path is not Unicode."""
    try:
        encoded = msgspec.msgpack.encode(entry)
    except UnicodeEncodeError:
        return None
    return encoded if len(encoded) <= _MAX_ENTRY_BYTES else None
