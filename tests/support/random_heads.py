"""Tiny models with draft heads (MTP): random ones, and heads that are made to predict well.

A model that is made to predict well is a table: its layers add nothing, so the token after `x` is
next_in_table(x), whatever came before. The embedding of a token is a point on some circles, and a
step in the table is a rotation, so a head can make it from a hidden state.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from tests.support.random_architectures import (
    ARCHITECTURES,
    N_EXPERT,
    N_EXPERT_USED,
    N_LAYER,
    Architecture,
    Metadata,
    Sizes,
    Tensors,
    Weights,
    write_random_architecture,
)

STEP = 7919  # any number without a common factor with the size of the vocabulary

Head = Literal["random", "token", "hidden", "alone", "no tensors"]
"""What the head predicts from: nothing useful; the newest token; or the hidden state of the token
before it, for the first draft token the model's and then its own. A head "alone", which predicts
from hidden states, is in a file without the other layers; with "no tensors" there is a head in the
metadata only.
"""


def _qwen35moe(weights: Weights, layer: int) -> Tensors:
    block = ARCHITECTURES["qwen35"].block(weights, layer)
    experts = ARCHITECTURES["glm4moe"].block(weights, 1)
    return {
        **{name: tensor for name, tensor in block.items() if not name.startswith("ffn_")},
        **{name: tensor for name, tensor in experts.items() if name.startswith("ffn_")},
        "ffn_gate_inp_shexp.weight": weights.vector(weights.n_embd),
    }


def _expert_sizes(sizes: Sizes) -> Metadata:
    return {
        "expert_count": N_EXPERT,
        "expert_used_count": N_EXPERT_USED,
        "expert_feed_forward_length": sizes.n_ff,
        "expert_shared_feed_forward_length": sizes.n_ff,
    }


OTHERS = {
    "qwen35moe": Architecture(
        "qwen35moe",
        _qwen35moe,
        lambda sizes: ARCHITECTURES["qwen35"].metadata(sizes) | _expert_sizes(sizes),
        can_be_cut=False,
    ),
    "hy_v3": Architecture("hy_v3", ARCHITECTURES["qwen3"].block, _expert_sizes),
}
"""Architectures whose heads are tested besides those of ARCHITECTURES."""


def next_in_table(token: int, n_vocab: int) -> int:
    """The token that a table model says after `token`."""
    return (token + STEP) % n_vocab


def write_model_with_head(
    path: Path, vocab_file: Path, name: str, head: Head = "random", n_heads: int = 1
) -> Path:
    """A model with `n_heads` equal heads, of an architecture of ARCHITECTURES or OTHERS."""
    architecture = OTHERS.get(name) or ARCHITECTURES[name]

    def add_heads(weights: Weights, metadata: Metadata, tensors: Tensors) -> None:
        n_embd = weights.n_embd
        metadata["block_count"] = N_LAYER + n_heads
        metadata["nextn_predict_layers"] = n_heads
        if head == "no tensors":
            return
        block = {
            "attn_norm.weight": weights.norm(),
            # An odd layer: of the hybrid architectures the one with attention.
            **architecture.block(weights, N_LAYER + 1),
            "nextn.eh_proj.weight": weights.matrix(n_embd, 2 * n_embd),
            "nextn.enorm.weight": weights.norm(),
            "nextn.hnorm.weight": weights.norm(),
            "nextn.shared_head_norm.weight": weights.norm(),
        }
        for index in range(n_heads):
            for part, tensor in block.items():
                tensors[f"blk.{N_LAYER + index}.{part}"] = tensor
        if head != "random":
            make_table(tensors)
            _make_head(tensors, n_embd, head)
        if head == "alone":
            for layer in range(N_LAYER):
                for key in [key for key in tensors if key.startswith(f"blk.{layer}.")]:
                    del tensors[key]

    return write_random_architecture(path, vocab_file, architecture, change=add_heads)


def make_table(tensors: Tensors) -> None:
    """Make all layers add nothing, and the output a table."""
    for name, tensor in tensors.items():
        if name.endswith(_ADDED):
            tensor[:] = 0
        if name.endswith("norm.weight"):
            tensor[:] = 1
    n_vocab, n_embd = tensors["token_embd.weight"].shape
    embeddings = _on_circles(n_vocab, n_embd)
    tensors["token_embd.weight"] = embeddings.astype(np.float16)
    tensors["output.weight"] = np.roll(embeddings, STEP, axis=0).astype(np.float16)


def rotation(n_vocab: int, n_embd: int) -> np.ndarray:
    """The matrix that makes the embedding of the next token in the table from a token's."""
    angles = STEP * _angles(n_vocab, n_embd)
    matrix = np.zeros((n_embd, n_embd))
    for index, angle in enumerate(angles):
        x, y = 2 * index, 2 * index + 1
        matrix[x, x] = matrix[y, y] = np.cos(angle)
        matrix[y, x], matrix[x, y] = np.sin(angle), -np.sin(angle)
    return matrix


def _angles(n_vocab: int, n_embd: int) -> np.ndarray:
    turns = np.random.default_rng(3).integers(1, n_vocab, n_embd // 2)
    return 2 * np.pi * turns / n_vocab


def _on_circles(n_vocab: int, n_embd: int) -> np.ndarray:
    angles = np.outer(np.arange(n_vocab), _angles(n_vocab, n_embd))
    return np.stack([np.cos(angles), np.sin(angles)], axis=2).reshape(n_vocab, n_embd)


def _make_head(tensors: Tensors, n_embd: int, head: Head) -> None:
    same, nothing = np.eye(n_embd), np.zeros((n_embd, n_embd))
    n_vocab = len(tensors["token_embd.weight"])
    parts = [same, nothing] if head == "token" else [nothing, rotation(n_vocab, n_embd)]
    tensors[f"blk.{N_LAYER}.nextn.eh_proj.weight"] = np.concatenate(parts, axis=1).astype(
        np.float16
    )


_ADDED = (
    "attn_output.weight",
    "ffn_down.weight",
    "ffn_down_exps.weight",
    "ffn_down_shexp.weight",
    "ssm_out.weight",
)
