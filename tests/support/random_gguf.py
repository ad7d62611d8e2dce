"""Tiny GGUF files with random weights, written from scratch: real architectures in milliseconds.

The vocabulary is copied, bytes as they are, from one of the pinned source's ggml-vocab files.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from gguf_writer import Value, encode_entries, encode_entry, tokenizer_entries, write_gguf
from make_random_model import LlamaShape, llama_metadata, llama_tensors

__all__ = [
    "LlamaShape",
    "Value",
    "encode_entries",
    "encode_entry",
    "tokenizer_entries",
    "write_gguf",
    "write_random_llama",
    "write_random_lora",
]


def write_random_llama(
    path: Path,
    vocab_file: Path,
    shape: LlamaShape | None = None,
    seed: int = 1,
    metadata: Mapping[str, Value] | None = None,
) -> Path:
    """A llama-architecture model of f16 weights with the vocabulary of `vocab_file`; `metadata` is
    written besides its own.
    """
    shape = shape or LlamaShape()
    vocabulary, n_vocab = tokenizer_entries(vocab_file)
    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (random.standard_normal((rows, columns)) * columns**-0.5).astype(np.float16)

    values = llama_metadata(shape, n_vocab) | dict(metadata or {})
    entries = encode_entries(values) + vocabulary
    return write_gguf(path, entries, llama_tensors(shape, n_vocab, matrix))


def write_random_lora(
    path: Path,
    shape: LlamaShape | None = None,
    metadata: Mapping[str, Value] | None = None,
    rank: int = 4,
    factor: float = 1.0,
    dtype: str = "<f4",
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
            weights = factor * random.standard_normal(size)
            tensors[f"{base}.{part}"] = weights.astype(dtype)
    return write_gguf(path, encode_entries(values), tensors)
