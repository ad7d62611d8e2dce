"""A tiny BERT encoder with random weights, with or without a classifier."""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf_writer import Value, encode_entries, encode_entry, encode_string

from tests.support.random_gguf import tokenizer_entries, write_gguf

# GGUF_TYPE_ARRAY and GGUF_TYPE_STRING of gguf.h.
_ARRAY, _STRING = 9, 8


@dataclass(frozen=True)
class BertShape:
    """The sizes of a BERT encoder; with `n_scores` it also has a classifier."""

    n_embd: int = 32
    n_ff: int = 64
    n_layer: int = 2
    n_head: int = 4
    n_ctx_train: int = 128
    n_scores: int = 0


def write_random_bert(
    path: Path,
    vocab_file: Path,
    pooling: int | None = None,
    shape: BertShape | None = None,
    rerank_template: str | None = None,
) -> Path:
    """A BERT encoder with the vocabulary of `vocab_file`; `pooling` is a llama_pooling_type."""
    shape = shape or BertShape()
    vocabulary, n_vocab = tokenizer_entries(vocab_file)
    metadata: dict[str, Value] = {
        "general.architecture": "bert",
        "general.name": "random encoder",
        "bert.context_length": shape.n_ctx_train,
        "bert.embedding_length": shape.n_embd,
        "bert.block_count": shape.n_layer,
        "bert.feed_forward_length": shape.n_ff,
        "bert.attention.head_count": shape.n_head,
        "bert.attention.layer_norm_epsilon": 1e-12,
        "bert.attention.causal": False,
    }
    if pooling is not None:
        metadata["bert.pooling_type"] = pooling
    if rerank_template is not None:
        metadata["tokenizer.chat_template.rerank"] = rerank_template
    entries = encode_entries(metadata)
    if shape.n_scores > 1:
        labels = [f"label {index}" for index in range(shape.n_scores)]
        entries.append(_encode_strings("bert.classifier.output_labels", labels))
    if not any(b"tokenizer.ggml.token_type_count" in entry for entry in vocabulary):
        entries.append(encode_entry("tokenizer.ggml.token_type_count", 2))
    tensors = _bert_tensors(shape, n_vocab, np.random.default_rng(3))
    return write_gguf(path, entries + vocabulary, tensors)


def _encode_strings(key: str, texts: list[str]) -> bytes:
    head = struct.pack("<IIQ", _ARRAY, _STRING, len(texts))
    return encode_string(key) + head + b"".join(encode_string(text) for text in texts)


def _bert_tensors(
    shape: BertShape, n_vocab: int, random: np.random.Generator
) -> dict[str, np.ndarray]:
    n_embd = shape.n_embd

    def matrix(rows: int, columns: int, dtype: type = np.float16) -> np.ndarray:
        return (random.standard_normal((rows, columns)) * columns**-0.5).astype(dtype)

    def vector(n: int) -> np.ndarray:
        return (random.standard_normal(n) * 0.1).astype(np.float32)

    def norm(name: str) -> dict[str, np.ndarray]:
        return {f"{name}.weight": 1 + vector(n_embd), f"{name}.bias": vector(n_embd)}

    tensors = {
        "token_embd.weight": matrix(n_vocab, n_embd),
        "position_embd.weight": matrix(shape.n_ctx_train, n_embd, np.float32),
        "token_types.weight": matrix(2, n_embd, np.float32),
        **norm("token_embd_norm"),
    }
    for layer in range(shape.n_layer):
        block = f"blk.{layer}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensors[f"{block}.{name}.weight"] = matrix(n_embd, n_embd)
            tensors[f"{block}.{name}.bias"] = vector(n_embd)
        tensors[f"{block}.ffn_up.weight"] = matrix(shape.n_ff, n_embd)
        tensors[f"{block}.ffn_up.bias"] = vector(shape.n_ff)
        tensors[f"{block}.ffn_down.weight"] = matrix(n_embd, shape.n_ff)
        tensors[f"{block}.ffn_down.bias"] = vector(n_embd)
        tensors |= norm(f"{block}.attn_output_norm") | norm(f"{block}.layer_output_norm")
    if shape.n_scores:
        tensors["cls.weight"] = matrix(n_embd, n_embd)
        tensors["cls.bias"] = vector(n_embd)
        tensors["cls.output.weight"] = matrix(shape.n_scores, n_embd)
        tensors["cls.output.bias"] = vector(shape.n_scores)
    return tensors
