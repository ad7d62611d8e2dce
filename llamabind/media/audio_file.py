"""read_audio: the samples of an audio file, decoded by soundfile and resampled by soxr."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from llamabind.errors import InvalidParameterError, MissingLibraryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SECONDS: Final = 600
MIN_RATE: Final = 4_000
MAX_RATE: Final = 192_000
_MAX_CHANNELS: Final = 8
# libsndfile's names; Ogg files hold Vorbis, Opus or FLAC.
_FORMATS: Final = ("WAV", "WAVEX", "FLAC", "MP3", "MPEG", "OGG")
_BLOCK: Final = 1 << 16


def read_audio(data: bytes, rate: int, field: str = "audio") -> NDArray[np.float32]:
    """Return the samples of a file, mixed to one channel, at `rate` per second.

    Shape (n,), values from about -1 to 1. Raises InvalidParameterError, naming `field`, for damaged
    files and those above MAX_SECONDS, whatever length their headers claim; MissingLibraryError
    without soundfile or soxr.
    """
    try:
        import soundfile
        import soxr
    except (ImportError, OSError):  # OSError: soundfile without its native library
        raise MissingLibraryError("audio", "soundfile and soxr") from None
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            own_rate = file.samplerate
            _check(file, field)
            samples = _decode(file, field)
    except InvalidParameterError:
        raise
    except Exception as error:  # noqa: BLE001 - also errors of the file object under it
        detail = getattr(error, "error_string", None) or str(error)
        raise InvalidParameterError(field, f"the audio is damaged: {detail}") from None
    if not len(samples):
        raise InvalidParameterError(field, "the audio has no samples")
    return np.asarray(soxr.resample(samples, own_rate, rate), np.float32)


def _check(file: Any, field: str) -> None:
    if file.format not in _FORMATS:
        raise InvalidParameterError(field, f"audio in the format {file.format} is not supported")
    if not 1 <= file.channels <= _MAX_CHANNELS or not MIN_RATE <= file.samplerate <= MAX_RATE:
        raise InvalidParameterError(
            field,
            f"expected 1 to {_MAX_CHANNELS} channels of {MIN_RATE} to {MAX_RATE} samples per "
            f"second, but got {file.channels} of {file.samplerate}",
        )


def _decode(file: Any, field: str) -> NDArray[np.float32]:
    """All samples, mixed to one channel; stops at MAX_SECONDS, since headers may lie."""
    blocks: list[NDArray[np.float32]] = []
    n_samples = 0
    while True:
        block = file.read(_BLOCK, dtype="float32", always_2d=True)
        if not len(block):
            return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
        n_samples += len(block)
        if n_samples > MAX_SECONDS * file.samplerate:
            raise InvalidParameterError(
                field, f"the audio is longer than the limit of {MAX_SECONDS} seconds"
            )
        blocks.append(block.mean(axis=1, dtype=np.float32))
