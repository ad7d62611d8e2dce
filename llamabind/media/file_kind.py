"""file_kind: whether a file is an image or audio, by its first bytes; pure Python."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from llamabind.errors import InvalidParameterError

Kind: TypeAlias = Literal["image", "audio"]

_IMAGES: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM")
_AUDIO: Final = (b"fLaC", b"OggS", b"ID3")
_MPEG_LAYER_3: Final = 0x02


def file_kind(data: bytes, field: str = "media") -> Kind:
    """The kind of a file of a known format. Raises InvalidParameterError, naming `field`."""
    if data.startswith(_IMAGES) or _is_riff(data, b"WEBP") or data[4:12] in _AVIF:
        return "image"
    if data.startswith(_AUDIO) or _is_riff(data, b"WAVE") or _is_mpeg(data):
        return "audio"
    raise InvalidParameterError(
        field,
        "expected a PNG, JPEG, GIF, BMP, WebP or AVIF image, or WAV, FLAC, MP3, Ogg Vorbis or Opus "
        "audio",
    )


# The box "ftyp" and its major brand: one image, or a sequence of which the first is read.
_AVIF: Final = (b"ftypavif", b"ftypavis")


def _is_riff(data: bytes, form: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == form


def _is_mpeg(data: bytes) -> bool:
    """Whether the file begins with the header of an MPEG layer III frame."""
    return data[:1] == b"\xff" and data[1:2] > b"\xe0" and data[1] & 6 == _MPEG_LAYER_3
