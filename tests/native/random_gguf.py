"""Tiny GGUF files with random weights, written from scratch: real architectures in milliseconds.

The vocabulary is copied, bytes as they are, from one of the pinned source's ggml-vocab files.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_ALIGNMENT = 32
_STRING, _ARRAY = 8, 9
_SCALAR_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_GGML_TYPES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1}

Value = bool | int | float | str


@dataclass(frozen=True)
class LlamaShape:
    """The sizes of a llama-architecture model."""

    n_embd: int = 64
    n_ff: int = 128
    n_layer: int = 2
    n_head: int = 4
    n_head_kv: int = 2
    n_ctx_train: int = 2048


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


def _read_string(data: bytes, position: int) -> tuple[bytes, int]:
    end = position + 8 + struct.unpack_from("<Q", data, position)[0]
    return data[position + 8 : end], end


def _skip_value(data: bytes, position: int, kind: int) -> int:
    if kind == _STRING:
        return _read_string(data, position)[1]
    if kind != _ARRAY:
        return position + _SCALAR_SIZES[kind]
    item, count = struct.unpack_from("<IQ", data, position)
    position += 12
    if item != _STRING:
        return position + count * _SCALAR_SIZES[item]
    for _ in range(count):
        position += 8 + struct.unpack_from("<Q", data, position)[0]
    return position


def write_gguf(path: Path, entries: list[bytes], tensors: Mapping[str, np.ndarray]) -> Path:
    """Write a GGUF of version 3; a tensor's numpy shape is the reverse of ggml's ne."""
    infos, offset = [], 0
    for name, tensor in tensors.items():
        shape = struct.pack(f"<I{tensor.ndim}Q", tensor.ndim, *reversed(tensor.shape))
        kind = _GGML_TYPES[tensor.dtype]
        infos.append(encode_string(name) + shape + struct.pack("<IQ", kind, offset))
        offset += _padded(tensor.nbytes)
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries))
    header += b"".join(entries) + b"".join(infos)
    with path.open("wb") as file:
        file.write(header.ljust(_padded(len(header)), b"\0"))
        for tensor in tensors.values():
            file.write(tensor.tobytes().ljust(_padded(tensor.nbytes), b"\0"))
    return path


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def write_random_llama(
    path: Path, vocab_file: Path, shape: LlamaShape | None = None, seed: int = 1
) -> Path:
    """A llama-architecture model with the vocabulary of `vocab_file`."""
    shape = shape or LlamaShape()
    vocabulary, n_vocab = tokenizer_entries(vocab_file)
    metadata: dict[str, Value] = {
        "general.architecture": "llama",
        "general.name": "random",
        "llama.context_length": shape.n_ctx_train,
        "llama.embedding_length": shape.n_embd,
        "llama.block_count": shape.n_layer,
        "llama.feed_forward_length": shape.n_ff,
        "llama.attention.head_count": shape.n_head,
        "llama.attention.head_count_kv": shape.n_head_kv,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": shape.n_embd // shape.n_head,
        "llama.vocab_size": n_vocab,
    }
    entries = [encode_entry(key, value) for key, value in metadata.items()]
    tensors = _llama_tensors(shape, n_vocab, np.random.default_rng(seed))
    return write_gguf(path, entries + vocabulary, tensors)


def _llama_tensors(
    shape: LlamaShape, n_vocab: int, random: np.random.Generator
) -> dict[str, np.ndarray]:
    n_kv = shape.n_embd // shape.n_head * shape.n_head_kv

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (random.standard_normal((rows, columns)) * columns**-0.5).astype(np.float16)

    norm = np.ones(shape.n_embd, np.float32)
    tensors = {
        "token_embd.weight": matrix(n_vocab, shape.n_embd),
        "output_norm.weight": norm,
        "output.weight": matrix(n_vocab, shape.n_embd),
    }
    for layer in range(shape.n_layer):
        block = {
            "attn_norm": norm,
            "ffn_norm": norm,
            "attn_q": matrix(shape.n_embd, shape.n_embd),
            "attn_k": matrix(n_kv, shape.n_embd),
            "attn_v": matrix(n_kv, shape.n_embd),
            "attn_output": matrix(shape.n_embd, shape.n_embd),
            "ffn_gate": matrix(shape.n_ff, shape.n_embd),
            "ffn_up": matrix(shape.n_ff, shape.n_embd),
            "ffn_down": matrix(shape.n_embd, shape.n_ff),
        }
        tensors |= {f"blk.{layer}.{name}.weight": tensor for name, tensor in block.items()}
    return tensors


def write_random_lora(
    path: Path,
    shape: LlamaShape | None = None,
    metadata: Mapping[str, Value] | None = None,
    rank: int = 4,
) -> Path:
    """A LoRA adapter for the attention of write_random_llama's models."""
    shape = shape or LlamaShape()
    random = np.random.default_rng(2)
    defaults: dict[str, Value] = {
        "general.type": "adapter",
        "general.architecture": "llama",
        "adapter.type": "lora",
        "adapter.lora.alpha": 8.0,
    }
    values = defaults | dict(metadata or {})
    tensors = {}
    for layer in range(shape.n_layer):
        base = f"blk.{layer}.attn_q.weight"
        for part, size in (("lora_a", (rank, shape.n_embd)), ("lora_b", (shape.n_embd, rank))):
            tensors[f"{base}.{part}"] = random.standard_normal(size).astype(np.float32)
    return write_gguf(path, [encode_entry(key, value) for key, value in values.items()], tensors)
