"""A tiny GPT-2 with random weights: its positions are learned, a row of a table for each."""

from pathlib import Path

import numpy as np
from gguf_writer import Value, encode_entries, tokenizer_entries, write_gguf

N_CTX_TRAIN = 48
_N_EMBD, _N_FF, _N_LAYER, _N_HEAD = 32, 64, 2, 4


def write_random_gpt2(path: Path, vocab_file: Path) -> Path:
    """A model with the vocabulary of `vocab_file` and N_CTX_TRAIN positions."""
    vocabulary, n_vocab = tokenizer_entries(vocab_file)
    random = np.random.default_rng(3)
    metadata: dict[str, Value] = {
        "general.architecture": "gpt2",
        "general.name": "random gpt2",
        "gpt2.context_length": N_CTX_TRAIN,
        "gpt2.embedding_length": _N_EMBD,
        "gpt2.feed_forward_length": _N_FF,
        "gpt2.block_count": _N_LAYER,
        "gpt2.attention.head_count": _N_HEAD,
        "gpt2.attention.layer_norm_epsilon": 1e-5,
    }

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (random.standard_normal((rows, columns)) * columns**-0.5).astype(np.float16)

    def vector(n: int, mean: float = 0.0) -> np.ndarray:
        return (mean + 0.1 * random.standard_normal(n)).astype(np.float32)

    tensors = {
        "token_embd.weight": matrix(n_vocab, _N_EMBD),
        "position_embd.weight": matrix(N_CTX_TRAIN, _N_EMBD).astype(np.float32),
        "output_norm.weight": vector(_N_EMBD, 1.0),
        "output_norm.bias": vector(_N_EMBD),
    }
    linear = {
        "attn_qkv": (3 * _N_EMBD, _N_EMBD),
        "attn_output": (_N_EMBD, _N_EMBD),
        "ffn_up": (_N_FF, _N_EMBD),
        "ffn_down": (_N_EMBD, _N_FF),
    }
    for layer in range(_N_LAYER):
        for name, (rows, columns) in linear.items():
            tensors[f"blk.{layer}.{name}.weight"] = matrix(rows, columns)
            tensors[f"blk.{layer}.{name}.bias"] = vector(rows)
        for name in ("attn_norm", "ffn_norm"):
            tensors[f"blk.{layer}.{name}.weight"] = vector(_N_EMBD, 1.0)
            tensors[f"blk.{layer}.{name}.bias"] = vector(_N_EMBD)
    return write_gguf(path, encode_entries(metadata) + vocabulary, tensors)
