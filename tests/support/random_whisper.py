"""A tiny audio projector with random weights: Qwen2-Audio's form of Whisper's encoder."""

from pathlib import Path

import numpy as np

from tests.support.random_gguf import Value, encode_entries, write_gguf

N_EMBD, N_FF, N_LAYER, N_MEL = 32, 64, 1, 80
N_POSITIONS = 1500
N_SOUND_TOKENS = N_POSITIONS // 2
"""For each 30 seconds: Whisper's window is that long, and the encoder takes means of two."""


def write_random_whisper(path: Path, n_embd_text: int, seed: int = 4) -> Path:
    """An mmproj that turns 30 s of sound into N_SOUND_TOKENS vectors of `n_embd_text` numbers."""
    random = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        fan_in = float(np.prod(shape[1:])) if len(shape) > 1 else 1.0
        return (random.standard_normal(shape) * fan_in**-0.5).astype(np.float32)

    tensors = {
        # ggml computes convolutions with kernels of half precision only.
        "a.conv1d.1.weight": weights(N_EMBD, N_MEL, 3).astype(np.float16),
        "a.conv1d.1.bias": weights(N_EMBD, 1),
        "a.conv1d.2.weight": weights(N_EMBD, N_EMBD, 3).astype(np.float16),
        "a.conv1d.2.bias": weights(N_EMBD, 1),
        "a.position_embd.weight": weights(N_POSITIONS, N_EMBD),
        "a.post_ln.weight": np.ones(N_EMBD, np.float32),
        "a.post_ln.bias": weights(N_EMBD),
        "mm.a.fc.weight": weights(n_embd_text, N_EMBD),
        "mm.a.fc.bias": weights(n_embd_text),
    }
    for layer in range(N_LAYER):
        sizes = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_out"), (N_EMBD, N_EMBD))
        sizes |= {"ffn_up": (N_FF, N_EMBD), "ffn_down": (N_EMBD, N_FF)}
        for name, size in sizes.items():
            tensors[f"a.blk.{layer}.{name}.weight"] = weights(*size)
            if name != "attn_k":
                tensors[f"a.blk.{layer}.{name}.bias"] = weights(size[0])
        for name in ("ln1", "ln2"):
            tensors[f"a.blk.{layer}.{name}.weight"] = np.ones(N_EMBD, np.float32)
            tensors[f"a.blk.{layer}.{name}.bias"] = weights(N_EMBD)
    values: dict[str, Value] = {
        "general.type": "mmproj",
        "general.architecture": "clip",
        "clip.has_audio_encoder": True,
        "clip.projector_type": "qwen2a",
        "clip.audio.num_mel_bins": N_MEL,
        "clip.audio.embedding_length": N_EMBD,
        "clip.audio.feed_forward_length": N_FF,
        "clip.audio.block_count": N_LAYER,
        "clip.audio.projection_dim": n_embd_text,
        "clip.audio.attention.head_count": 4,
        "clip.audio.attention.layer_norm_epsilon": 1e-5,
    }
    return write_gguf(path, encode_entries(values), tensors)
