"""Image and audio files are checked before native code reads them."""

import contextlib
import io
import struct
import wave
import zlib

import numpy as np
import pytest

from llamabind.errors import InvalidParameterError
from llamabind.media.file_checks import MediaFile, check_unpacked, read_media_file
from llamabind.media.wave_file import MAX_SECONDS, read_wave


def png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + bytes(4)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data))


def jpeg(width: int, height: int) -> bytes:
    app0 = b"\xff\xe0" + struct.pack(">H", 4) + b"xx"
    frame = b"\xff\xc2" + struct.pack(">HBHH", 11, 8, height, width) + bytes(4)
    return b"\xff\xd8" + app0 + b"\xff" + frame


def sound(rate: int, seconds: float, width: int = 2, n_channels: int = 1) -> bytes:
    """A tone of 440 Hz at half the loudness."""
    times = np.arange(int(rate * seconds)) / rate
    samples = 0.5 * np.sin(2 * np.pi * 440 * times)
    scaled = np.round(samples * ((1 << (8 * width - 1)) - 1)).astype("<i4")
    if width == 1:
        scaled += 128
    frames = scaled.view(np.uint8).reshape(-1, 4)[:, :width].repeat(n_channels, axis=0).tobytes()
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((n_channels, width, rate, 0, "NONE", ""))
        file.writeframes(frames)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(30, 20), MediaFile("image", "png", 30, 20)),
        (jpeg(30, 20), MediaFile("image", "jpeg", 30, 20)),
        (b"GIF89a" + struct.pack("<HH", 30, 20), MediaFile("image", "gif", 30, 20)),
        (b"BM" + bytes(16) + struct.pack("<ii", 30, -20), MediaFile("image", "bmp", 30, 20)),
        (sound(8000, 0.1), MediaFile("audio", "wav")),
    ],
)
def test_a_file_tells_what_it_is(data: bytes, expected: MediaFile) -> None:
    assert read_media_file(data) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a PNG"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "expected a PNG"),
        (b"<svg/>", "expected a PNG"),
        (png(0, 5), "no pixels"),
        (png(16_385, 1), "16384 pixels per side"),
        (png(10_000, 10_000), "but got 10000 x 10000"),
        (png(30, 20)[:20], "truncated"),
        (jpeg(30, 20)[:10], "truncated"),
        (jpeg(30, 20)[:8] + bytes(20), "no pixels"),
    ],
)
def test_an_invalid_image_is_refused_with_its_field(data: bytes, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message) as caught:
        read_media_file(data, "messages[2]")
    assert caught.value.field == "messages[2]"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (png(1, 1, bytes(1 << 22)), "decompresses to more data than its pixels need"),
        (png(1, 1, bytes(1 << 22)).replace(b"IDAT", b"IDAT!!"), "damaged"),
    ],
)
def test_an_image_that_unpacks_to_more_than_it_says_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        check_unpacked(data, read_media_file(data))


def test_an_image_that_unpacks_to_its_pixels_is_taken() -> None:
    for data in (png(300, 200, bytes(200 * 901)), jpeg(30, 20)):
        check_unpacked(data, read_media_file(data))


@pytest.mark.parametrize("cut", range(0, 60, 3))
@pytest.mark.parametrize("data", [png(30, 20), jpeg(30, 20)])
def test_a_file_cut_anywhere_is_read_or_refused(data: bytes, cut: int) -> None:
    with contextlib.suppress(InvalidParameterError):
        assert read_media_file(data[:cut]).kind == "image"


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize(("rate", "n_channels"), [(16_000, 1), (44_100, 2), (8_000, 1)])
def test_a_sound_is_mixed_and_brought_to_the_wanted_rate(
    width: int, rate: int, n_channels: int
) -> None:
    samples = read_wave(sound(rate, 0.5, width, n_channels), 16_000)
    assert samples.dtype == np.float32
    assert len(samples) == 8_000
    times = np.arange(8_000) / 16_000
    middle = slice(100, -100)
    np.testing.assert_allclose(
        samples[middle], 0.5 * np.sin(2 * np.pi * 440 * times)[middle], atol=0.06
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"RIFF\0\0\0\0WAVE", "not a WAV file with PCM"),
        (sound(16_000, 0.1)[:40], "no"),
        (sound(1_000, 0.1), "of 1000"),
        (sound(16_000, 0), "no samples"),
        (sound(4_000, MAX_SECONDS + 1, 1), "at most 600 seconds"),
    ],
)
def test_unusable_audio_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message) as caught:
        read_wave(data, 16_000, "input_audio")
    assert caught.value.field == "input_audio"
