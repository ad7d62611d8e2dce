"""Writes GGUF files, with a vocabulary copied unchanged from another file."""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_ALIGNMENT = 32
_STRING, _ARRAY = 8, 9
_SCALAR_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

Q8_0_BLOCK = np.dtype([("scale", "<f2"), ("quants", "i1", (32,))])
"""block_q8_0 of ggml-common.h: 32 weights of a row."""

Q4_0_BLOCK = np.dtype([("scale", "<f2"), ("quants", "u1", (16,))])
"""block_q4_0 of ggml-common.h: 32 weights of a row."""

Q4_K_BLOCK = np.dtype(
    [("scale", "<f2"), ("minimum", "<f2"), ("scales", "u1", (12,)), ("quants", "u1", (128,))]
)
"""block_q4_K of ggml-common.h: 256 weights of a row."""

# For each dtype: its ggml_type and the number of weights in an element.
_GGML_TYPES = {
    np.dtype(np.float32): (0, 1),
    np.dtype(np.float16): (1, 1),
    Q8_0_BLOCK: (8, 32),
    Q4_0_BLOCK: (2, 32),
    Q4_K_BLOCK: (12, 256),
}

Value = bool | int | float | str


@dataclass(frozen=True, slots=True)
class LazyTensor:
    """A tensor that is computed when it is written, so that a large model need not fit in
    memory.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    make: Callable[[], np.ndarray]

    @classmethod
    def of(cls, array: np.ndarray) -> "LazyTensor":
        return cls(array.dtype, array.shape, lambda: array)

    @property
    def n_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape))


def encode_string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def encode_entry(key: str, value: Value) -> bytes:
    """One metadata entry: bool, int (u32), float (f32) or str."""
    if isinstance(value, bool):
        typed = struct.pack("<I?", 7, value)
    elif isinstance(value, int):
        typed = struct.pack("<II", 4, value)
    elif isinstance(value, float):
        typed = struct.pack("<If", 6, value)
    else:
        typed = struct.pack("<I", _STRING) + encode_string(value)
    return encode_string(key) + typed


def encode_entries(values: Mapping[str, Value]) -> list[bytes]:
    return [encode_entry(key, value) for key, value in values.items()]


def tokenizer_entries(vocab_file: Path) -> tuple[list[bytes], int]:
    """The raw tokenizer.* entries of a GGUF file, and the number of its tokens."""
    data = vocab_file.read_bytes()
    n_entries = struct.unpack_from("<Q", data, 16)[0]
    position = 24
    entries, n_vocab = [], 0
    for _ in range(n_entries):
        start = position
        key, position = _read_string(data, position)
        kind = struct.unpack_from("<I", data, position)[0]
        if key == b"tokenizer.ggml.tokens":
            n_vocab = struct.unpack_from("<Q", data, position + 8)[0]
        position = _skip_value(data, position + 4, kind)
        if key.startswith(b"tokenizer."):
            entries.append(data[start:position])
    return entries, n_vocab


def write_gguf(
    path: Path, entries: list[bytes], tensors: Mapping[str, np.ndarray | LazyTensor]
) -> Path:
    """Write a GGUF of version 3. The numpy shape of a tensor is ggml's `ne` reversed."""
    lazy = {
        name: tensor if isinstance(tensor, LazyTensor) else LazyTensor.of(tensor)
        for name, tensor in tensors.items()
    }
    header = b"GGUF" + struct.pack("<IQQ", 3, len(lazy), len(entries))
    header += b"".join(entries) + b"".join(_tensor_infos(lazy))
    with path.open("wb") as file:
        file.write(header.ljust(_padded(len(header)), b"\0"))
        for tensor in lazy.values():
            file.write(tensor.make().tobytes().ljust(_padded(tensor.n_bytes), b"\0"))
    return path


def _tensor_infos(tensors: Mapping[str, LazyTensor]) -> Iterator[bytes]:
    offset = 0
    for name, tensor in tensors.items():
        kind, n_per_element = _GGML_TYPES[tensor.dtype]
        *rows, columns = tensor.shape
        ne = (columns * n_per_element, *reversed(rows))
        yield encode_string(name) + struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne, kind, offset)
        offset += _padded(tensor.n_bytes)


def _read_string(data: bytes, position: int) -> tuple[bytes, int]:
    end = position + 8 + int(struct.unpack_from("<Q", data, position)[0])
    return data[position + 8 : end], end


def _skip_value(data: bytes, position: int, kind: int) -> int:
    if kind == _STRING:
        return _read_string(data, position)[1]
    if kind != _ARRAY:
        return position + _SCALAR_SIZES[kind]
    item, count = struct.unpack_from("<IQ", data, position)
    position += 12
    if item != _STRING:
        return position + int(count) * _SCALAR_SIZES[item]
    for _ in range(count):
        position += 8 + struct.unpack_from("<Q", data, position)[0]
    return position


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
