"""Slot files: the KV state of one sequence on disk, with its tokens and the key of its model."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from array import array
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from llamabind.context.saved_state import SavedState
from llamabind.errors import SlotFileError, StateError

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC: Final = b"LBSLOT01"
_HEADER: Final = struct.Struct("<8sII")  # magic, CRC-32 of key and tokens, n_tokens
_KEY_BYTES: Final = 32
_TOKEN_BYTES: Final = 4
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class SlotContent:
    """The KV state of exactly `tokens`; `key` is that of SlotExchange.key."""

    key: bytes
    tokens: array[int]
    state: SavedState


def write_slot_file(path: Path, content: SlotContent) -> int:
    """Write a file that only its owner can read; return its size in bytes. Raises SlotFileError."""
    head = content.key + np.asarray(content.tokens, "<i4").tobytes()
    header = _HEADER.pack(_MAGIC, zlib.crc32(head), len(content.tokens))
    parts = (header, head, content.state.to_bytes())
    # Written beside and renamed, so that a reader gets the old file or the new one, never a part.
    part = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise _write_error(path, error, sum(map(len, parts))) from None
    return sum(map(len, parts))


def _write_error(path: Path, error: OSError, n_bytes: int) -> SlotFileError:
    head = f"the slot file {path.name!r} cannot be written: "
    is_full = error.errno in _FULL
    if not is_full:
        return SlotFileError(f"{head}{error.strerror or error}", is_full=False)
    needed = f"it needs {_size(n_bytes)}"
    if error.errno == errno.EFBIG:
        text = f"{needed}, more than a file may have here (ulimit -f)"
    elif error.errno == errno.EDQUOT:
        text = f"{needed}, which exceeds the disk quota of this user on its file system"
    else:
        text = f"{needed}, its file system has {_size(_free_bytes(path.parent))} free"
    return SlotFileError(f"{head}{text}", is_full=True)


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:.1f} kB"


def _free_bytes(folder: Path) -> int:
    """Bytes that this user may still write; 0 if the file system does not report them."""
    with suppress(OSError):
        state = os.statvfs(folder)
        return state.f_bavail * state.f_frsize
    return 0


def read_slot_file(path: Path, key: bytes, max_bytes: int) -> tuple[SlotContent, int]:
    """Return the content of a slot file, and its size in bytes.

    Raises StateError for a file that is missing, damaged, larger than `max_bytes`, or has another
    key.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            raw = file.read(max_bytes + 1)
    except OSError as error:
        reason = error.strerror or error
        raise StateError(f"the slot file {path.name!r} cannot be read: {reason}") from None
    if len(raw) > max_bytes:
        raise StateError(f"the slot file {path.name!r} is larger than any state of this model")
    return _parse(raw, path.name, key), len(raw)


def _parse(raw: bytes, name: str, key: bytes) -> SlotContent:
    if len(raw) < _HEADER.size or not raw.startswith(_MAGIC):
        raise StateError(f"{name!r} is not a slot file of llamabind")
    _, checksum, n_tokens = _HEADER.unpack_from(raw)
    end = _HEADER.size + _KEY_BYTES + n_tokens * _TOKEN_BYTES
    head = raw[_HEADER.size : end]
    if len(raw) < end or zlib.crc32(head) != checksum:
        raise StateError(f"the slot file {name!r} is damaged")
    if head[:_KEY_BYTES] != key:
        raise StateError(
            f"the slot file {name!r} was saved by another model or with other load settings"
        )
    tokens = array("i", np.frombuffer(head[_KEY_BYTES:], "<i4").tolist())
    return SlotContent(key, tokens, SavedState.from_bytes(raw[end:]))
