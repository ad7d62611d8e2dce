"""Small GGUF files for tests of the server: headers without tensors."""

import struct
from pathlib import Path

_U32, _BOOL, _STR = 4, 7, 8


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _string(key: str, value: str) -> bytes:
    return _text(key) + struct.pack("<I", _STR) + _text(value)


def _u32(key: str, value: int) -> bytes:
    return _text(key) + struct.pack("<II", _U32, value)


def _entry(key: str, value: str | bool) -> bytes:
    if isinstance(value, bool):
        return _text(key) + struct.pack("<I?", _BOOL, value)
    return _string(key, value)


def gguf_header_bytes(**more: str | bool) -> bytes:
    """The smallest header that the server lists as a healthy llama model."""
    architecture = str(more.pop("general__architecture", "llama"))
    entries = [
        _string("general.architecture", architecture),
        _string("general.name", "Fake"),
        _u32("llama.context_length", 2048),
        _u32("llama.embedding_length", 64),
        _u32("llama.block_count", 2),
        *(_entry(key.replace("__", "."), value) for key, value in more.items()),
    ]
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + b"".join(entries)


def write_gguf(path: Path, tail: str = "", **more: str | bool) -> Path:
    """A healthy file at `path`; `tail` is read by fake_worker.py."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gguf_header_bytes(**more) + b"\n" + tail.encode())
    return path
