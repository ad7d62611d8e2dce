"""Slot files: the KV state of one sequence on disk, with its tokens and the key of its model."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from array import array
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

import msgspec

from llamabind.context.saved_state import SavedState
from llamabind.errors import SlotFileError, StateError
from llamabind.media.known_media import SavedMedium

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Buffer: TypeAlias = bytes | memoryview

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


@dataclass(frozen=True, slots=True)
class SlotHead:
    """The part of a slot file before its state, which has `n_state_bytes`; fields as SlotContent's.

    `tokens` has the pseudo-tokens of the process that wrote the file.
    """

    key: bytes
    tokens: array[int]
    n_state_bytes: int
    media: tuple[SavedMedium, ...] = ()
    projector: tuple[str, int] | None = None


def write_slot_file(path: Path, content: SlotContent) -> int:
    """Write a file that only its owner can read; return its size in bytes. Raises SlotFileError."""
    part = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    parts = content_parts(content)
    n_bytes = sum(map(len, parts))
    try:
        write_whole(part, path, parts)
    except OSError as error:
        raise _write_error(path, error, n_bytes) from None
    return n_bytes


def content_parts(content: SlotContent) -> tuple[Buffer, ...]:
    """Return the bytes of a slot file in parts; the last one is the state, which is not copied."""
    import numpy as np

    media = _ENCODER.encode((content.projector, content.media)) if content.media else b""
    head = content.key + np.asarray(content.tokens, "<i4").tobytes() + media
    header = _HEADER.pack(_MAGIC, zlib.crc32(head), len(content.tokens), len(media))
    return header, head, content.state.header, content.state.data.data


def write_whole(
    part: Path | str, path: Path | str, parts: Iterable[Buffer], folder: int | None = None
) -> None:
    """Write the file `path`, readable by its owner only. Raises OSError.

    It is written to `part` and renamed, so that a reader gets the old file or the new one, never a
    piece of it. Both names are relative to the descriptor `folder` if that is given.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(part, flags, 0o600, dir_fd=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
        os.replace(part, path, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(part, dir_fd=folder)
        raise


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
    name = path.name
    try:
        # Without O_NONBLOCK a named pipe would block until a program writes to it.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(path, flags), "rb") as file:
            n_bytes = os.fstat(file.fileno()).st_size
            if n_bytes > max_bytes:
                raise StateError(f"the slot file {name!r} is larger than any state of this model")
            head = read_head(file, name, n_bytes)
            if head.key != key:
                raise StateError(
                    f"the slot file {name!r} was saved by another model or with other load settings"
                )
            state = SavedState.read(file, head.n_state_bytes)
    except OSError as error:
        reason = error.strerror or error
        raise StateError(f"the slot file {name!r} cannot be read: {reason}") from None
    return SlotContent(head.key, head.tokens, state, head.media, head.projector), n_bytes


def read_head(file: BinaryIO, name: str, n_bytes: int) -> SlotHead:
    """Read all of a slot file of `n_bytes` that precedes the state.

    Raises StateError for a file that is no slot file or is damaged, and OSError.
    """
    import numpy as np

    raw = file.read(_HEADER.size)
    if len(raw) < _HEADER.size or not raw.startswith(_MAGIC):
        raise StateError(f"{name!r} is not a slot file of llamabind")
    _, checksum, n_tokens, n_media = _HEADER.unpack(raw)
    begin = _KEY_BYTES + n_tokens * _TOKEN_BYTES
    n_state_bytes = n_bytes - _HEADER.size - begin - n_media
    head = file.read(begin + n_media) if n_state_bytes >= 0 else b""
    if len(head) < begin + n_media or zlib.crc32(head) != checksum:
        raise StateError(f"the slot file {name!r} is damaged")
    tokens = array("i", np.frombuffer(head[_KEY_BYTES:begin], "<i4").tolist())
    projector, media = _media(head[begin:], name)
    return SlotHead(head[:_KEY_BYTES], tokens, n_state_bytes, media, projector)


def _media(raw: bytes, name: str) -> tuple[tuple[str, int] | None, tuple[SavedMedium, ...]]:
    if not raw:
        return None, ()
    try:
        return _DECODER.decode(raw)
    except msgspec.MsgspecError:
        raise StateError(f"the slot file {name!r} is damaged") from None
