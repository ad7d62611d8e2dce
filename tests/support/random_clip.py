"""Tiny projector files with random weights: a vision tower of two layers and an MLP, of LLaVA's
form and of Qwen2-VL's.
"""

import struct
from pathlib import Path

import numpy as np

from tests.support.random_gguf import Value, encode_entries, write_gguf

N_EMBD, N_FF, N_LAYER = 32, 64, 2
IMAGE_SIZE, PATCH_SIZE = 32, 8
QWEN_SQUARE = 2 * PATCH_SIZE
N_IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE) ** 2
_GGUF_ARRAY, _GGUF_F32 = 9, 6


def write_random_clip(
    path: Path, n_embd_text: int, seed: int = 3, last_factor: float = 1.0
) -> Path:
    """An mmproj that turns an image into N_IMAGE_TOKENS vectors of `n_embd_text` numbers.

    `last_factor` is multiplied by the bias that is added last.
    """
    weights = _Weights(seed)
    tensors = {
        "v.patch_embd.weight": weights.make(N_EMBD, 3, PATCH_SIZE, PATCH_SIZE),
        "v.position_embd.weight": weights.make(N_IMAGE_TOKENS, N_EMBD),
        "mm.0.weight": weights.make(n_embd_text, N_EMBD),
        "mm.0.bias": weights.make(n_embd_text),
        "mm.2.weight": weights.make(n_embd_text, n_embd_text),
        "mm.2.bias": (last_factor * weights.make(n_embd_text)).astype(np.float32),
        **_tower(weights),
    }
    return write_gguf(path, _entries("mlp", n_embd_text), tensors)


def write_random_qwen2vl_clip(path: Path, n_embd_text: int, seed: int = 3) -> Path:
    """An mmproj that turns each square of QWEN_SQUARE pixels into a vector, 8 at least."""
    weights = _Weights(seed)
    n_merged = 4 * N_EMBD
    tensors = {
        "v.patch_embd.weight": weights.make(N_EMBD, 3, PATCH_SIZE, PATCH_SIZE),
        "v.patch_embd.weight.1": weights.make(N_EMBD, 3, PATCH_SIZE, PATCH_SIZE),
        "v.post_ln.weight": np.ones(N_EMBD, np.float32),
        "v.post_ln.bias": np.zeros(N_EMBD, np.float32),
        "mm.0.weight": weights.make(n_merged, n_merged),
        "mm.0.bias": weights.make(n_merged),
        "mm.2.weight": weights.make(n_embd_text, n_merged),
        "mm.2.bias": weights.make(n_embd_text),
        **_tower(weights),
    }
    return write_gguf(path, _entries("qwen2vl_merger", n_embd_text), tensors)


class _Weights:
    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def make(self, *shape: int) -> np.ndarray:
        fan_in = float(np.prod(shape[1:])) if len(shape) > 1 else 1.0
        return (self._random.standard_normal(shape) * fan_in**-0.5).astype(np.float32)


def _tower(weights: _Weights) -> dict[str, np.ndarray]:
    tensors = {}
    for layer in range(N_LAYER):
        sizes = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_out"), (N_EMBD, N_EMBD))
        sizes |= {"ffn_up": (N_FF, N_EMBD), "ffn_down": (N_EMBD, N_FF)}
        for name, size in sizes.items():
            tensors[f"v.blk.{layer}.{name}.weight"] = weights.make(*size)
            tensors[f"v.blk.{layer}.{name}.bias"] = weights.make(size[0])
        for name in ("ln1", "ln2"):
            tensors[f"v.blk.{layer}.{name}.weight"] = np.ones(N_EMBD, np.float32)
            tensors[f"v.blk.{layer}.{name}.bias"] = np.zeros(N_EMBD, np.float32)
    return tensors


def _entries(projector_type: str, n_embd_text: int) -> list[bytes]:
    values: dict[str, Value] = {
        "general.type": "mmproj",
        "general.architecture": "clip",
        "clip.has_vision_encoder": True,
        "clip.projector_type": projector_type,
        "clip.vision.image_size": IMAGE_SIZE,
        "clip.vision.patch_size": PATCH_SIZE,
        "clip.vision.embedding_length": N_EMBD,
        "clip.vision.feed_forward_length": N_FF,
        "clip.vision.block_count": N_LAYER,
        "clip.vision.projection_dim": n_embd_text,
        "clip.vision.attention.head_count": 4,
        "clip.vision.attention.layer_norm_epsilon": 1e-5,
    }
    arrays = [_floats("clip.vision.image_mean"), _floats("clip.vision.image_std")]
    return encode_entries(values) + arrays


def _floats(key: str) -> bytes:
    """Three times 0.5: a mean or a deviation of each colour."""
    name = struct.pack("<Q", len(key)) + key.encode()
    return name + struct.pack("<IIQ3f", _GGUF_ARRAY, _GGUF_F32, 3, 0.5, 0.5, 0.5)
