"""Tiny models with draft heads (MTP): random ones, and heads that are made to predict well.

A model that is made to predict well is a table: its layers add nothing, so the token after `x` is
next_in_table(x), whatever came before. Its output matrix has the embedding of `x` in the row of the
next token.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from tests.support.random_architectures import (
    ARCHITECTURES,
    N_LAYER,
    Metadata,
    Tensors,
    Weights,
    write_random_architecture,
)

STEP = 7919  # any number without a common factor with the size of the vocabulary

Head = Literal["random", "token", "hidden", "no tensors"]
"""What the head predicts from: nothing useful; the newest token, so that it is always right; or the
hidden state of the token before it, so that only its first draft token is right. With "no tensors"
there is a head in the metadata only.
"""


def next_in_table(token: int, n_vocab: int) -> int:
    """The token that a table model says after `token`."""
    return (token + STEP) % n_vocab


def write_model_with_head(
    path: Path, vocab_file: Path, name: str, head: Head = "random", seed: int = 5
) -> Path:
    """A model of an architecture of random_architectures.py with one head."""

    def add_head(weights: Weights, metadata: Metadata, tensors: Tensors) -> None:
        n_embd = weights.n_embd
        metadata["block_count"] = N_LAYER + 1
        metadata["nextn_predict_layers"] = 1
        if head == "no tensors":
            return
        block = {
            "attn_norm.weight": weights.norm(),
            # An odd layer: of the hybrid architectures the one with attention.
            **ARCHITECTURES[name].block(weights, N_LAYER + 1),
            "nextn.eh_proj.weight": weights.matrix(n_embd, 2 * n_embd),
            "nextn.enorm.weight": weights.norm(),
            "nextn.hnorm.weight": weights.norm(),
            "nextn.shared_head_norm.weight": weights.norm(),
        }
        tensors |= {f"blk.{N_LAYER}.{part}": tensor for part, tensor in block.items()}
        if head != "random":
            _make_table(tensors)
            _make_head(tensors, n_embd, head)

    return write_random_architecture(path, vocab_file, name, seed, change=add_head)


def _make_table(tensors: Tensors) -> None:
    """Make all layers add nothing, and the output a table."""
    for name, tensor in tensors.items():
        if name.endswith(_ADDED):
            tensor[:] = 0
        if name.endswith("norm.weight"):
            tensor[:] = 1
    embeddings = tensors["token_embd.weight"]
    embeddings /= np.linalg.norm(embeddings.astype(np.float32), axis=1, keepdims=True)
    tensors["output.weight"] = np.roll(embeddings, STEP, axis=0) * np.float16(8)


def _make_head(tensors: Tensors, n_embd: int, head: Head) -> None:
    same, nothing = np.eye(n_embd), np.zeros((n_embd, n_embd))
    parts = [same, nothing] if head == "token" else [nothing, same]
    prefix = f"blk.{N_LAYER}.nextn"
    tensors[f"{prefix}.eh_proj.weight"] = np.concatenate(parts, axis=1).astype(np.float16)
    if head == "hidden":
        # The hidden state is that of a token two steps before the one to predict.
        tensors[f"{prefix}.shared_head_head.weight"] = np.roll(
            tensors["output.weight"], STEP, axis=0
        )


_ADDED = (
    "attn_output.weight",
    "ffn_down.weight",
    "ffn_down_exps.weight",
    "ffn_down_shexp.weight",
    "ssm_out.weight",
)
