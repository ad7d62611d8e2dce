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

import msgspec
import numpy as np

from llamabind.context.saved_state import SavedState
from llamabind.errors import SlotFileError, StateError
from llamabind.media.known_media import SavedMedium

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC: Final = b"LBSLOT02"
# magic, CRC-32 of key, tokens and media, n_tokens, bytes of the media
_HEADER: Final = struct.Struct("<8sIII")
_KEY_BYTES: Final = 32
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(tuple[tuple[str, int] | None, tuple[SavedMedium, ...]])
_TOKEN_BYTES: Final = 4
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class SlotContent:
    """The KV state of exactly `tokens`; `key` is that of SlotExchange.key.

    `media` are the images and audio whose pseudo-tokens are among them, as `projector` encoded
    them: its name and size in bytes.
    """

    key: bytes
    tokens: array[int]
    state: SavedState
    media: tuple[SavedMedium, ...] = ()
    projector: tuple[str, int] | None = None


def write_slot_file(path: Path, content: SlotContent) -> int:
    """Write a file that only its owner can read; return its size in bytes. Raises SlotFileError."""
    media = _ENCODER.encode((content.projector, content.media)) if content.media else b""
    head = content.key + np.asarray(content.tokens, "<i4").tobytes() + media
    header = _HEADER.pack(_MAGIC, zlib.crc32(head), len(content.tokens), len(media))
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
    _, checksum, n_tokens, n_media = _HEADER.unpack_from(raw)
    begin = _HEADER.size + _KEY_BYTES + n_tokens * _TOKEN_BYTES
    end = begin + n_media
    head = raw[_HEADER.size : end]
    if len(raw) < end or zlib.crc32(head) != checksum:
        raise StateError(f"the slot file {name!r} is damaged")
    if head[:_KEY_BYTES] != key:
        raise StateError(
            f"the slot file {name!r} was saved by another model or with other load settings"
        )
    tokens = array("i", np.frombuffer(raw[_HEADER.size + _KEY_BYTES : begin], "<i4").tolist())
    projector, media = _media(raw[begin:end], name)
    return SlotContent(key, tokens, SavedState.from_bytes(raw[end:]), media, projector)


def _media(raw: bytes, name: str) -> tuple[tuple[str, int] | None, tuple[SavedMedium, ...]]:
    if not raw:
        return None, ()
    try:
        return _DECODER.decode(raw)
    except msgspec.MsgspecError:
        raise StateError(f"the slot file {name!r} is damaged") from None
