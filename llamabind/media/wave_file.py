"""read_wave: the samples of a WAV file, resampled for a projector."""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING, Any

import numpy as np

from llamabind.errors import InvalidParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SECONDS = 600
MIN_RATE, MAX_RATE = 4_000, 192_000
_MAX_CHANNELS = 8


def read_wave(data: bytes, rate: int, field: str = "audio") -> NDArray[np.float32]:
    """Return the samples of a PCM file of 8 to 32 bits, mixed to one channel, at `rate` per second.

    Shape (n,), values from -1 to 1. Raises InvalidParameterError, naming `field`, for other files
    and those above MAX_SECONDS.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            n_channels, width, own_rate = (
                file.getnchannels(),
                file.getsampwidth(),
                file.getframerate(),
            )
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError, ValueError) as error:
        raise InvalidParameterError(field, f"not a WAV file with PCM samples: {error}") from None
    if not 1 <= n_channels <= _MAX_CHANNELS or not MIN_RATE <= own_rate <= MAX_RATE:
        raise InvalidParameterError(
            field,
            f"expected 1 to {_MAX_CHANNELS} channels of {MIN_RATE} to {MAX_RATE} samples per "
            f"second, but got {n_channels} of {own_rate}",
        )
    frame = n_channels * width
    samples = _to_float(frames[: len(frames) // frame * frame], width, field)
    mixed = samples.reshape(-1, n_channels).mean(axis=1, dtype=np.float32)
    if not len(mixed):
        raise InvalidParameterError(field, "the audio has no samples")
    if len(mixed) > MAX_SECONDS * own_rate:
        seconds = len(mixed) // own_rate
        raise InvalidParameterError(
            field, f"expected at most {MAX_SECONDS} seconds, but got {seconds}"
        )
    return _resample(mixed, own_rate, rate)


def _to_float(frames: bytes, width: int, field: str) -> NDArray[np.float32]:
    """Return samples from -1 to 1."""
    if width == 1:  # unsigned, unlike the others
        return _scaled(np.frombuffer(frames, np.uint8).astype(np.float32) - 128, 8)
    if width == 3:
        padded = np.zeros((len(frames) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(frames, np.uint8).reshape(-1, 3)
        return _scaled(padded.view("<i4").ravel(), 32)
    if width not in (2, 4):
        raise InvalidParameterError(field, f"samples of {8 * width} bits are not supported")
    return _scaled(np.frombuffer(frames, np.dtype(f"<i{width}")), 8 * width)


def _scaled(samples: NDArray[Any], n_bits: int) -> NDArray[np.float32]:
    return samples.astype(np.float32) / np.float32(1 << (n_bits - 1))


def _resample(samples: NDArray[np.float32], own_rate: int, rate: int) -> NDArray[np.float32]:
    if own_rate == rate:
        return samples
    n = max(1, len(samples) * rate // own_rate)
    if own_rate > rate:
        # Frequencies too high for the new rate would become noise: average neighbouring samples.
        span = -(-own_rate // rate)
        samples = np.convolve(samples, np.full(span, 1 / span, np.float32), "same")
    times = np.arange(n, dtype=np.float64) * (own_rate / rate)
    return np.interp(times, np.arange(len(samples)), samples).astype(np.float32)
