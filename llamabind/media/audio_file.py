"""Checks of MP3 and FLAC files before native code reads them: it would allocate memory for whatever
length a file claims.
"""

from __future__ import annotations

from dataclasses import dataclass

from llamabind.errors import InvalidParameterError
from llamabind.media.wave_file import MAX_RATE, MAX_SECONDS, MIN_RATE

_MAX_GARBAGE = 1 << 16

# ISO 11172-3 and 13818-3: kbit/s of layer III by the header's index, and samples per second.
_BITRATES = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_LAYER_3 = 1
_LENGTH_MARKS = (b"Xing", b"Info", b"VBRI")


@dataclass(frozen=True, slots=True)
class _Frame:
    """Length in bytes, samples per second and samples, from a frame's header."""

    length: int
    rate: int
    n_samples: int


def clean_mp3(data: bytes, field: str = "audio") -> bytes:
    """Return only the audio frames of an MP3 file, without tags and frames that claim a length.

    Raises InvalidParameterError, naming `field`, without such frames or above MAX_SECONDS.
    """
    position, garbage, rate, n_samples = _skip_tag(data), 0, 0, 0
    frames = []
    while position + 4 <= len(data):
        frame = _read_frame(data, position)
        if frame is None or (rate and frame.rate != rate):
            garbage += 1
            position += 1
            if garbage > _MAX_GARBAGE:
                break
            continue
        rate = frame.rate
        part = data[position : position + frame.length]
        position += frame.length
        if not any(mark in part[:48] for mark in _LENGTH_MARKS):
            frames.append(part)
            n_samples += frame.n_samples
    if not frames:
        raise InvalidParameterError(field, "the audio is damaged: it has no MP3 frames")
    _check_length(n_samples, rate, field)
    return b"".join(frames)


def check_flac(data: bytes, field: str = "audio") -> None:
    """Check that a FLAC header is complete and states a length up to MAX_SECONDS.

    Raises InvalidParameterError, naming `field`.
    """
    # "fLaC", then the block STREAMINFO, which is always first and has 34 bytes.
    if len(data) < 42 or data[4] & 0x7F or int.from_bytes(data[5:8], "big") != 34:
        raise InvalidParameterError(field, "the audio is truncated or damaged")
    facts = int.from_bytes(data[18:26], "big")
    rate, n_samples = facts >> 44, facts & ((1 << 36) - 1)
    if not MIN_RATE <= rate <= MAX_RATE:
        raise InvalidParameterError(
            field, f"expected {MIN_RATE} to {MAX_RATE} samples per second, but got {rate}"
        )
    if not n_samples:
        raise InvalidParameterError(field, "the FLAC header does not state the length")
    _check_length(n_samples, rate, field)


def _check_length(n_samples: int, rate: int, field: str) -> None:
    if n_samples > MAX_SECONDS * rate:
        raise InvalidParameterError(
            field, f"expected at most {MAX_SECONDS} seconds, but got {n_samples // rate}"
        )


def _skip_tag(data: bytes) -> int:
    """Return the offset behind an ID3v2 tag; 0 without one."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size


def _read_frame(data: bytes, position: int) -> _Frame | None:
    """Return the layer III frame that begins at `position`, None if there is no complete one."""
    header = int.from_bytes(data[position : position + 4], "big")
    if header >> 21 != 0x7FF:
        return None
    version, layer = header >> 19 & 3, header >> 17 & 3
    bitrate, rate, padding = header >> 12 & 15, header >> 10 & 3, header >> 9 & 1
    if layer != _LAYER_3 or version not in _RATES or bitrate in (0, 15) or rate == 3:
        return None
    is_first = version == 3
    kbits = _BITRATES[1 if is_first else 2][bitrate]
    samples_a_second = _RATES[version][rate]
    n_samples = 1152 if is_first else 576
    length = n_samples // 8 * kbits * 1000 // samples_a_second + padding
    if position + length > len(data):
        return None
    return _Frame(length, samples_a_second, n_samples)
