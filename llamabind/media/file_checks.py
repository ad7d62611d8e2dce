"""Type and size of an image or audio file, checked before native code reads it; pure Python."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamabind.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SIDE = 16_384
MAX_PIXELS = 50_000_000
"""An image takes 3 bytes per pixel until it is scaled down for the projector."""

# Upper bound of zlib's output bytes per input byte.
_DEFLATE_RATIO = 1032
_SLACK = 1 << 16


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file's `kind`, "image" or "audio", its `format`, and an image's size in pixels."""

    kind: str
    format: str
    width: int = 0
    height: int = 0


def read_media_file(data: bytes, field: str = "media") -> MediaFile:
    """Detect the type of `data` by its first bytes. Raises InvalidParameterError, naming `field`,
    unless it is a PNG, JPEG, GIF, BMP, WAV, MP3 or FLAC file, and for an image over MAX_SIDE or
    MAX_PIXELS.
    """
    audio = _audio_format(data)
    if audio is not None:
        return MediaFile("audio", audio)
    try:
        found = _read_image(data)
    except (struct.error, IndexError):
        raise InvalidParameterError(field, "the image is truncated or damaged") from None
    if found is None:
        raise InvalidParameterError(
            field, "expected a PNG, JPEG, GIF or BMP image, or WAV, MP3 or FLAC audio"
        )
    if not found.width or not found.height:
        raise InvalidParameterError(field, "the image has no pixels")
    if max(found.width, found.height) > MAX_SIDE or found.width * found.height > MAX_PIXELS:
        raise InvalidParameterError(
            field,
            f"expected an image of at most {MAX_SIDE} pixels per side and {MAX_PIXELS} in total, "
            f"but got {found.width} x {found.height}",
        )
    return found


def _audio_format(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data[:4] == b"fLaC":
        return "flac"
    # An ID3 tag, or the first frame of MPEG layer III.
    if data[:3] == b"ID3" or (data[:1] == b"\xff" and data[1:2] > b"\xe0" and data[1] & 6 == 2):
        return "mp3"
    return None


def _read_image(data: bytes) -> MediaFile | None:
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
        return MediaFile("image", "png", *struct.unpack_from(">II", data, 16))
    if data[:3] == b"\xff\xd8\xff":
        return MediaFile("image", "jpeg", *_jpeg_size(data))
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return MediaFile("image", "gif", *struct.unpack_from("<HH", data, 6))
    if data[:2] == b"BM":
        width, height = struct.unpack_from("<ii", data, 18)
        return MediaFile("image", "bmp", abs(width), abs(height))
    return None


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) from the first frame header; (0, 0) if there is none."""
    position = 2
    while data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # padding
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        # SOF0 to SOF15; three numbers in this range are other markers: DHT, JPG and DAC.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        position += 2 + length
    return 0, 0


def check_unpacked(data: bytes, file: MediaFile, field: str = "media") -> None:
    """Refuse a PNG that decompresses to far more than its pixels: native code would allocate it.

    Decompresses the file once. Raises InvalidParameterError, naming `field`.
    """
    if file.format == "png":
        _check_png_size(data, file, field)


def _check_png_size(data: bytes, png: MediaFile, field: str) -> None:
    # 4 channels of 16 bits, a filter byte per row, doubled for interlacing.
    expected = 2 * (png.width * 8 + 1) * png.height + _SLACK
    if len(data) * _DEFLATE_RATIO <= expected:
        return
    inflater = zlib.decompressobj()
    n_unpacked = 0
    try:
        for part in _png_data(data):
            while part and n_unpacked <= expected:
                n_unpacked += len(inflater.decompress(part, _SLACK))
                part = inflater.unconsumed_tail
    except zlib.error:
        raise InvalidParameterError(field, "the image is damaged") from None
    if n_unpacked > expected:
        raise InvalidParameterError(
            field, "the PNG file decompresses to more data than its pixels need"
        )


def _png_data(data: bytes) -> Iterator[bytes]:
    position = 8
    while position + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        if data[position + 4 : position + 8] == b"IDAT":
            yield data[position + 8 : position + 8 + length]
        position += 12 + length
