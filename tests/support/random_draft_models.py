"""Tiny draft models that read the hidden states of a model: Gemma 4's assistants and EAGLE-3.

They serve tables (random_heads.py), and their drafts are right if they get the right inputs: of
EAGLE-3 the first token of each, since its decoder adds nothing to the hidden state.
"""

from pathlib import Path

import numpy as np
from gguf_writer import encode_entries, tokenizer_entries, write_gguf

from tests.support.random_architectures import (
    N_HEAD,
    N_HEAD_KV,
    WINDOW,
    Metadata,
    Tensors,
    Weights,
    encode_metadata,
)
from tests.support.random_heads import Head, rotation

_WIDTH = 128
"""Width of the draft models; twice that of the models that they serve, so nothing is lost."""

_N_LAYER = 2


def write_assistant(path: Path, vocab_file: Path, table: Tensors, head: Head = "hidden") -> Path:
    """An assistant for a gemma4 model that is a table, given the table's tensors."""
    weights = Weights(_WIDTH, seed=8)
    n_embd = table["token_embd.weight"].shape[1]
    head_size = n_embd // N_HEAD
    pre, post = weights.matrix(_WIDTH, 2 * n_embd), weights.matrix(n_embd, _WIDTH)
    output = weights.matrix(len(table["token_embd.weight"]), _WIDTH)
    if head != "random":
        same = np.eye(_WIDTH, n_embd)
        turned = same @ rotation(len(output), n_embd)
        parts = [same, 0 * same] if head == "token" else [0 * same, turned]
        pre = np.concatenate(parts, axis=1).astype(np.float16)
        post = np.eye(n_embd, _WIDTH).astype(np.float16)
        output = np.zeros_like(output)
        output[:, :n_embd] = table["output.weight"]
    tensors = {
        "token_embd.weight": output,
        "output_norm.weight": np.ones(_WIDTH, np.float32),
        "nextn.pre_projection.weight": pre,
        "nextn.post_projection.weight": post,
        "rope_freqs.weight": np.ones(head_size // 2, np.float32),
    }
    for layer in range(_N_LAYER):
        block = {
            "attn_norm.weight": weights.norm(),
            "attn_q.weight": weights.matrix(n_embd, _WIDTH),
            "attn_output.weight": weights.matrix(_WIDTH, n_embd),
            "attn_q_norm.weight": weights.norm(head_size),
            "post_attention_norm.weight": weights.norm(),
            "layer_output_scale.weight": np.ones(1, np.float32),
            "ffn_norm.weight": weights.norm(),
            "ffn_gate.weight": weights.matrix(weights.n_ff, _WIDTH),
            "ffn_up.weight": weights.matrix(weights.n_ff, _WIDTH),
            "ffn_down.weight": weights.matrix(_WIDTH, weights.n_ff),
            "post_ffw_norm.weight": weights.norm(),
        }
        if head != "random":
            block["attn_output.weight"][:] = 0
            block["ffn_down.weight"][:] = 0
        tensors |= {f"blk.{layer}.{part}": tensor for part, tensor in block.items()}
    metadata: Metadata = {
        "embedding_length_out": n_embd,
        "nextn_predict_layers": _N_LAYER,
        "attention.key_length": head_size,
        "attention.value_length": head_size,
        "attention.key_length_swa": head_size,
        "attention.value_length_swa": head_size,
        "attention.sliding_window": WINDOW,
        "attention.sliding_window_pattern": [1, 0],
        "rope.dimension_count": head_size,
        "rope.dimension_count_swa": head_size,
        "block_count": _N_LAYER,
    }
    return _write(path, vocab_file, "gemma4-assistant", metadata, tensors)


def write_eagle3(
    path: Path, vocab_file: Path, table: Tensors, head: Head = "hidden", n_embd_target: int = 0
) -> Path:
    """An EAGLE-3 draft model for a model that is a table, given the table's tensors.

    Its encoder takes what the target's layer 2 reads, which in a table is the token's embedding.
    """
    weights = Weights(_WIDTH, seed=9)
    n_vocab, n_embd = table["token_embd.weight"].shape
    fused = weights.matrix(_WIDTH, 3 * (n_embd_target or n_embd))
    embeddings, output = weights.matrix(n_vocab, _WIDTH), weights.matrix(n_vocab, _WIDTH)
    head_size = _WIDTH // N_HEAD
    if head != "random":
        fused[:] = 0
        fused[:n_embd, n_embd : 2 * n_embd] = rotation(n_vocab, n_embd)
        output[:] = 0
        output[:, :n_embd] = table["output.weight"]
    tensors = {
        "token_embd.weight": embeddings,
        "fc.weight": fused,
        "output.weight": output,
        "output_norm.weight": np.ones(_WIDTH, np.float32),
        "blk.0.attn_norm.weight": weights.norm(),
        "blk.0.attn_norm_2.weight": weights.norm(),
        "blk.0.attn_q.weight": weights.matrix(_WIDTH, 2 * _WIDTH),
        "blk.0.attn_k.weight": weights.matrix(head_size * N_HEAD_KV, 2 * _WIDTH),
        "blk.0.attn_v.weight": weights.matrix(head_size * N_HEAD_KV, 2 * _WIDTH),
        "blk.0.attn_output.weight": weights.matrix(_WIDTH, _WIDTH),
        "blk.0.ffn_norm.weight": weights.norm(),
        "blk.0.ffn_gate.weight": weights.matrix(weights.n_ff, _WIDTH),
        "blk.0.ffn_up.weight": weights.matrix(weights.n_ff, _WIDTH),
        "blk.0.ffn_down.weight": weights.matrix(_WIDTH, weights.n_ff),
    }
    if head != "random":
        tensors["blk.0.attn_output.weight"][:] = 0
        tensors["blk.0.ffn_down.weight"][:] = 0
    metadata: Metadata = {
        "block_count": 1,
        "target_layers": [1, 2, 3],
        "target_hidden_size": n_embd_target or n_embd,
        "attention.key_length": head_size,
        "attention.value_length": head_size,
        "rope.dimension_count": head_size,
    }
    return _write(path, vocab_file, "eagle3", metadata, tensors)


def _write(path: Path, vocab_file: Path, name: str, metadata: Metadata, tensors: Tensors) -> Path:
    vocabulary, n_vocab = tokenizer_entries(vocab_file)
    sizes: Metadata = {
        "context_length": 2048,
        "embedding_length": _WIDTH,
        "feed_forward_length": 2 * _WIDTH,
        "attention.head_count": N_HEAD,
        "attention.head_count_kv": N_HEAD_KV,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "vocab_size": n_vocab,
        **metadata,
    }
    entries = encode_entries({"general.architecture": name, "general.name": f"random {name}"})
    return write_gguf(path, entries + encode_metadata(name, sizes) + vocabulary, tensors)
