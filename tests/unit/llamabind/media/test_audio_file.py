"""read_audio: samples of every format at one rate; long, truncated and lying files are refused."""

import io
import struct
import sys

import numpy as np
import pytest
import soundfile

from llamabind.errors import InvalidParameterError, MissingLibraryError
from llamabind.media.audio_file import MAX_SECONDS, read_audio

RATE = 16_000


def _tone(rate: int, seconds: float, n_channels: int = 1) -> np.ndarray:
    """440 Hz at half the loudness, shape (n, n_channels)."""
    times = np.arange(int(rate * seconds)) / rate
    return np.repeat(0.5 * np.sin(2 * np.pi * 440 * times)[:, np.newaxis], n_channels, axis=1)


def _file(
    form: str, subtype: str, rate: int = 48_000, seconds: float = 1, channels: int = 1
) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, _tone(rate, seconds, channels), rate, format=form, subtype=subtype)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("form", "subtype", "rate", "channels"),
    [
        ("WAV", "PCM_16", 44_100, 2),
        ("WAV", "PCM_U8", 8_000, 1),
        ("WAV", "PCM_24", 48_000, 6),
        ("WAV", "FLOAT", 22_050, 1),
        ("WAV", "ULAW", 8_000, 1),
        ("WAVEX", "PCM_32", 96_000, 1),
        ("FLAC", "PCM_16", 44_100, 2),
        ("MP3", "MPEG_LAYER_III", 44_100, 2),
        ("OGG", "VORBIS", 44_100, 1),
        ("OGG", "OPUS", 48_000, 2),
        ("OGG", "OPUS", 16_000, 1),
    ],
)
def test_every_format_gives_the_same_tone(
    form: str, subtype: str, rate: int, channels: int
) -> None:
    samples = read_audio(_file(form, subtype, rate, 1.0, channels), RATE)
    assert samples.dtype == np.float32
    assert abs(len(samples) - RATE) < RATE // 10  # MP3 adds silence at both ends
    middle = samples[len(samples) // 4 : len(samples) * 3 // 4]
    spectrum = np.abs(np.fft.rfft(middle))
    loudest = int(spectrum.argmax()) * RATE / len(middle)
    assert abs(loudest - 440) < 5
    assert abs(float(np.abs(middle).max()) - 0.5) < 0.05


def test_a_tone_too_high_for_the_new_rate_becomes_silence_and_no_noise() -> None:
    times = np.arange(96_000) / 48_000
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.5 * np.sin(2 * np.pi * 12_000 * times), 48_000, format="WAV")
    samples = read_audio(buffer.getvalue(), RATE)
    assert float(np.abs(samples[1000:-1000]).max()) < 0.01


@pytest.mark.parametrize(
    ("form", "subtype", "seconds"),
    [
        ("FLAC", "PCM_16", 3600),
        ("OGG", "VORBIS", 3600),
        ("OGG", "OPUS", MAX_SECONDS + 1),  # its encoder is slow
        ("WAV", "ULAW", 3600),
    ],
)
def test_an_hour_of_silence_is_refused(form: str, subtype: str, seconds: int) -> None:
    rate = 8_000
    buffer = io.BytesIO()
    # In blocks: libsndfile's Vorbis encoder crashes on long ones.
    with soundfile.SoundFile(buffer, "w", rate, 1, subtype, format=form) as file:
        for _ in range(seconds):
            file.write(np.zeros(rate, np.float32))
    with pytest.raises(InvalidParameterError, match=f"limit of {MAX_SECONDS} seconds") as caught:
        read_audio(buffer.getvalue(), RATE, "input_audio")
    assert caught.value.field == "input_audio"


def test_a_header_that_claims_more_than_the_file_has_is_read_as_far_as_it_goes() -> None:
    data = bytearray(_file("WAV", "PCM_16", RATE, 1.0))
    data[40:44] = struct.pack("<I", 0xFFFFFFF0)
    data[4:8] = struct.pack("<I", 0xFFFFFFF0)
    assert len(read_audio(bytes(data), RATE)) == RATE


@pytest.mark.parametrize(
    ("form", "subtype"), [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")]
)
def test_a_file_cut_in_its_header_is_refused(form: str, subtype: str) -> None:
    with pytest.raises(InvalidParameterError, match="the audio is damaged"):
        read_audio(_file(form, subtype)[:30], RATE)


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("WAV", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS")],
)
def test_a_file_cut_in_the_middle_is_refused_or_read_as_far_as_it_goes(
    form: str, subtype: str
) -> None:
    data = _file(form, subtype)
    try:
        samples = read_audio(data[: len(data) // 2], RATE)
    except InvalidParameterError:
        return
    assert 0 < len(samples) <= RATE + RATE // 10


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "damaged"),
        (b"RIFF\0\0\0\0WAVEfmt " + bytes(20), "damaged"),
        (b"OggS" + bytes(60), "damaged"),
        (b"ID3\4\0\0\0\0\0\x0a" + bytes(60), "damaged"),
        (_file("WAV", "PCM_16", 1_000), "samples per second, but got 1 of 1000"),
        (_file("WAV", "PCM_16", 400_000, 0.1), "but got 1 of 400000"),
        (_file("WAV", "PCM_16", RATE, 0.1, 9), "1 to 8 channels"),
        (_file("WAV", "PCM_16", RATE, 0.0), "no samples"),
        (_file("AIFF", "PCM_16"), "the format AIFF is not supported"),
    ],
)
def test_invalid_audio_is_refused_with_its_field(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidParameterError, match=reason) as caught:
        read_audio(data, RATE, "input_audio")
    assert caught.value.field == "input_audio"


@pytest.mark.parametrize("module", ["soundfile", "soxr"])
def test_without_the_libraries_the_error_names_the_line_to_install_them(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    data = _file("WAV", "PCM_16")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'llamabind\[media\]'"):
        read_audio(data, RATE)
