"""A tiny projector file with random weights: a LLaVA's vision tower of two layers and its MLP."""

import struct
from pathlib import Path

import numpy as np
from random_gguf import encode_entry, write_gguf

N_EMBD, N_FF, N_LAYER = 32, 64, 2
IMAGE_SIZE, PATCH_SIZE = 32, 8
N_IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE) ** 2
_GGUF_ARRAY, _GGUF_F32 = 9, 6


def write_random_clip(path: Path, n_embd_text: int, seed: int = 3) -> Path:
    """An mmproj that turns an image into N_IMAGE_TOKENS vectors of `n_embd_text` numbers."""
    random = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        fan_in = float(np.prod(shape[1:])) if len(shape) > 1 else 1.0
        return (random.standard_normal(shape) * fan_in**-0.5).astype(np.float32)

    tensors = {
        "v.patch_embd.weight": weights(N_EMBD, 3, PATCH_SIZE, PATCH_SIZE),
        "v.position_embd.weight": weights(N_IMAGE_TOKENS, N_EMBD),
        "mm.0.weight": weights(n_embd_text, N_EMBD),
        "mm.0.bias": weights(n_embd_text),
        "mm.2.weight": weights(n_embd_text, n_embd_text),
        "mm.2.bias": weights(n_embd_text),
    }
    for layer in range(N_LAYER):
        sizes = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_out"), (N_EMBD, N_EMBD))
        sizes |= {"ffn_up": (N_FF, N_EMBD), "ffn_down": (N_EMBD, N_FF)}
        for name, size in sizes.items():
            tensors[f"v.blk.{layer}.{name}.weight"] = weights(*size)
            tensors[f"v.blk.{layer}.{name}.bias"] = weights(size[0])
        for name in ("ln1", "ln2"):
            tensors[f"v.blk.{layer}.{name}.weight"] = np.ones(N_EMBD, np.float32)
            tensors[f"v.blk.{layer}.{name}.bias"] = np.zeros(N_EMBD, np.float32)
    return write_gguf(path, _entries(n_embd_text), tensors)


def _entries(n_embd_text: int) -> list[bytes]:
    values = {
        "general.type": "mmproj",
        "general.architecture": "clip",
        "clip.has_vision_encoder": True,
        "clip.projector_type": "mlp",
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
    return [encode_entry(key, value) for key, value in values.items()] + arrays


def _floats(key: str) -> bytes:
    """Three times 0.5: a mean or a deviation of each colour."""
    name = struct.pack("<Q", len(key)) + key.encode()
    return name + struct.pack("<IIQ3f", _GGUF_ARRAY, _GGUF_F32, 3, 0.5, 0.5, 0.5)
