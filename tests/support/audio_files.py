"""Audio files for tests, encoded here without a library."""

import io
import wave

import numpy as np


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    """A WAV file of int16 samples."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


def flac(samples: np.ndarray, rate: int = 16_000, n_claimed: int | None = None) -> bytes:
    """A FLAC file of int16 samples that are not packed, in one frame of up to 65,536."""
    n = len(samples)
    facts = rate << 44 | 15 << 36 | (n if n_claimed is None else n_claimed)
    info = n.to_bytes(2, "big") * 2 + bytes(6) + facts.to_bytes(8, "big") + bytes(16)
    # Block size from the 16 bits at the header's end; sample rate of the file; mono; 16 bits.
    header = bytes([0xFF, 0xF8, 0x70, 0x08, 0]) + (n - 1).to_bytes(2, "big")
    frame = header + bytes([_crc(header, 8, 0x07), 0x02]) + samples.astype(">i2").tobytes()
    return b"fLaC\x80\0\0\x22" + info + frame + _crc(frame, 16, 0x8005).to_bytes(2, "big")


def silent_mp3(n_frames: int) -> bytes:
    """An MP3 file of silence, 26 ms for each frame: 128 kbit/s, 44,100 Hz, mono."""
    return (b"\xff\xfb\x90\xc4" + bytes(413)) * n_frames


def _crc(data: bytes, n_bits: int, polynomial: int) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << n_bits - 8
        for _ in range(8):
            crc = crc << 1 ^ (polynomial if crc >> n_bits - 1 else 0)
            crc &= (1 << n_bits) - 1
    return crc
