"""The length that an MP3 or FLAC file claims is checked before native code reads the file."""

import pytest

from llamabind.errors import InvalidParameterError
from llamabind.media.audio_file import check_flac, clean_mp3
from llamabind.media.file_checks import MediaFile, read_media_file

FRAME = b"\xff\xfb\x90\xc4" + bytes(413)
LOW_FRAME = b"\xff\xf3\x14\xc4" + bytes(140)
"""MPEG 2: 8 kbit/s are 24 bytes; here 16,000 a second."""

XING = b"\xff\xfb\x90\xc4" + bytes(17) + b"Xing\0\0\0\1\xff\xff\xff\xff" + bytes(384)
TAG = b"ID3\4\0\0\0\0\1\4" + bytes(132)


def streaminfo(rate: int, n_samples: int) -> bytes:
    facts = rate << 44 | 15 << 36 | n_samples
    return b"fLaC\x80\0\0\x22" + bytes(10) + facts.to_bytes(8, "big") + bytes(16)


@pytest.mark.parametrize(
    ("data", "kind"),
    [(FRAME, "mp3"), (TAG + FRAME, "mp3"), (LOW_FRAME, "mp3"), (streaminfo(16_000, 9), "flac")],
)
def test_sounds_are_known_by_their_first_bytes(data: bytes, kind: str) -> None:
    assert read_media_file(data) == MediaFile("audio", kind)


@pytest.mark.parametrize(
    "data",
    [
        FRAME * 3,
        TAG + FRAME * 3,
        XING + FRAME * 3,
        TAG + XING + FRAME * 3 + b"TAG" + bytes(125),
        bytes(100) + FRAME + b"\xff\xff\xff\xff" + FRAME * 2,
        FRAME * 3 + FRAME[:100],
        FRAME * 3 + LOW_FRAME,
    ],
)
def test_only_the_frames_of_sound_are_passed_on(data: bytes) -> None:
    assert clean_mp3(data) == FRAME * 3


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no MP3 frames"),
        (XING, "no MP3 frames"),
        (FRAME[:200], "no MP3 frames"),
        (TAG[:10] + FRAME, "no MP3 frames"),
        (bytes(1 << 17) + FRAME, "no MP3 frames"),
        (FRAME * 22_970, "at most 600 seconds"),
    ],
)
def test_what_has_no_frames_or_too_many_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidParameterError, match=reason) as caught:
        clean_mp3(data, "input_audio")
    assert caught.value.field == "input_audio"


def test_a_flac_file_tells_how_long_it_is() -> None:
    check_flac(streaminfo(16_000, 600 * 16_000))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"fLaC", "truncated"),
        (streaminfo(16_000, 5)[:-1], "truncated"),
        (b"fLaC\x81" + streaminfo(16_000, 5)[5:], "truncated"),
        (streaminfo(1_000, 5), "samples per second, but got 1000"),
        (streaminfo(16_000, 0), "does not state the length"),
        (streaminfo(16_000, (1 << 36) - 1), "at most 600 seconds"),
    ],
)
def test_an_implausible_flac_header_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidParameterError, match=reason) as caught:
        check_flac(data, "input_audio")
    assert caught.value.field == "input_audio"
