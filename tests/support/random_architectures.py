"""Tiny models with random weights of each kind of memory that llama.cpp has."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf_writer import Value, encode_entries, encode_string, tokenizer_entries, write_gguf

N_EMBD, N_FF, N_LAYER, N_HEAD, N_HEAD_KV = 64, 128, 4, 4, 2
HEAD_SIZE = N_EMBD // N_HEAD
N_KV = HEAD_SIZE * N_HEAD_KV
N_EXPERT, N_EXPERT_USED = 4, 2
WINDOW = 16
D_INNER, D_STATE, D_CONV, DT_RANK = 2 * N_EMBD, 16, 4, 4
DELTA_HEADS, DELTA_KEY_HEADS = 4, 2

Tensors = dict[str, np.ndarray]


class Weights:
    """Makes random tensors; equal seeds make equal ones."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def matrix(self, *shape: int, dtype: type = np.float16) -> np.ndarray:
        """Keeps the size of a vector of shape[-1] numbers."""
        return (self._random.standard_normal(shape) * shape[-1] ** -0.5).astype(dtype)

    def vector(self, n: int) -> np.ndarray:
        return (self._random.standard_normal(n) * 0.1).astype(np.float32)

    def norm(self, n: int = N_EMBD) -> np.ndarray:
        return 1 + self.vector(n)


def _attention(weights: Weights) -> Tensors:
    return {
        "attn_q.weight": weights.matrix(N_EMBD, N_EMBD),
        "attn_k.weight": weights.matrix(N_KV, N_EMBD),
        "attn_v.weight": weights.matrix(N_KV, N_EMBD),
        "attn_output.weight": weights.matrix(N_EMBD, N_EMBD),
    }


def _head_norms(weights: Weights) -> Tensors:
    return {
        "attn_q_norm.weight": weights.norm(HEAD_SIZE),
        "attn_k_norm.weight": weights.norm(HEAD_SIZE),
    }


def _feed_forward(weights: Weights) -> Tensors:
    return {
        "ffn_norm.weight": weights.norm(),
        "ffn_gate.weight": weights.matrix(N_FF, N_EMBD),
        "ffn_up.weight": weights.matrix(N_FF, N_EMBD),
        "ffn_down.weight": weights.matrix(N_EMBD, N_FF),
    }


def _llama(weights: Weights, layer: int) -> Tensors:
    return _attention(weights) | _feed_forward(weights)


def _qwen2(weights: Weights, layer: int) -> Tensors:
    biases = {
        "attn_q.bias": weights.vector(N_EMBD),
        "attn_k.bias": weights.vector(N_KV),
        "attn_v.bias": weights.vector(N_KV),
    }
    return _llama(weights, layer) | biases


def _qwen3(weights: Weights, layer: int) -> Tensors:
    return _llama(weights, layer) | _head_norms(weights)


def _qwen3moe(weights: Weights, layer: int) -> Tensors:
    return {
        **_attention(weights),
        **_head_norms(weights),
        "ffn_norm.weight": weights.norm(),
        "ffn_gate_inp.weight": weights.matrix(N_EXPERT, N_EMBD, dtype=np.float32),
        "ffn_gate_exps.weight": _experts(weights, N_FF, N_EMBD),
        "ffn_up_exps.weight": _experts(weights, N_FF, N_EMBD),
        "ffn_down_exps.weight": _experts(weights, N_EMBD, N_FF),
    }


def _experts(weights: Weights, rows: int, columns: int) -> np.ndarray:
    """Much alike: another rounding may choose another expert, and no logit shows that it was near
    to a tie.
    """
    own = weights.matrix(N_EXPERT, rows, columns)
    return weights.matrix(rows, columns) + np.float16(0.03) * own


def _gemma3(weights: Weights, layer: int) -> Tensors:
    return {
        **_qwen3(weights, layer),
        "post_attention_norm.weight": weights.norm(),
        "post_ffw_norm.weight": weights.norm(),
    }


def _mamba(weights: Weights, layer: int) -> Tensors:
    return {
        "ssm_in.weight": weights.matrix(2 * D_INNER, N_EMBD),
        "ssm_conv1d.weight": weights.matrix(D_INNER, D_CONV, dtype=np.float32),
        "ssm_conv1d.bias": weights.vector(D_INNER),
        "ssm_x.weight": weights.matrix(DT_RANK + 2 * D_STATE, D_INNER),
        "ssm_dt.weight": weights.matrix(D_INNER, DT_RANK),
        "ssm_dt.bias": weights.vector(D_INNER),
        "ssm_a": -np.exp(weights.matrix(D_INNER, D_STATE, dtype=np.float32)),
        "ssm_d": weights.norm(D_INNER),
        "ssm_out.weight": weights.matrix(N_EMBD, D_INNER),
    }


def _lfm2(weights: Weights, layer: int) -> Tensors:
    if layer % 2:
        return _qwen3(weights, layer)
    return {
        **_feed_forward(weights),
        "shortconv.conv.weight": weights.matrix(N_EMBD, 3, dtype=np.float32),
        "shortconv.in_proj.weight": weights.matrix(3 * N_EMBD, N_EMBD),
        "shortconv.out_proj.weight": weights.matrix(N_EMBD, N_EMBD),
    }


def _qwen35(weights: Weights, layer: int) -> Tensors:
    """A gated delta net, and attention with a gate in each second layer."""
    block = {
        "post_attention_norm.weight": weights.norm(),
        "ffn_gate.weight": weights.matrix(N_FF, N_EMBD),
        "ffn_up.weight": weights.matrix(N_FF, N_EMBD),
        "ffn_down.weight": weights.matrix(N_EMBD, N_FF),
    }
    if layer % 2:
        gated = {"attn_q.weight": weights.matrix(2 * N_EMBD, N_EMBD)}
        return block | _attention(weights) | _head_norms(weights) | gated
    n_key, n_value = DELTA_KEY_HEADS * D_STATE, DELTA_HEADS * D_STATE
    return {
        **block,
        "attn_qkv.weight": weights.matrix(2 * n_key + n_value, N_EMBD),
        "attn_gate.weight": weights.matrix(n_value, N_EMBD),
        "ssm_conv1d.weight": weights.matrix(2 * n_key + n_value, D_CONV, dtype=np.float32),
        "ssm_dt.bias": weights.vector(DELTA_HEADS),
        "ssm_a": -np.exp(weights.vector(DELTA_HEADS)),
        "ssm_beta.weight": weights.matrix(DELTA_HEADS, N_EMBD),
        "ssm_alpha.weight": weights.matrix(DELTA_HEADS, N_EMBD),
        "ssm_norm.weight": weights.norm(D_STATE),
        "ssm_out.weight": weights.matrix(N_EMBD, n_value),
    }


@dataclass(frozen=True)
class Architecture:
    """What a model of this architecture has beyond embeddings and output.

    `block` makes the tensors of a layer, its attn_norm apart. `can_be_cut` is false with a sliding
    window or a recurrent state.
    """

    name: str
    block: Callable[[Weights, int], Tensors]
    metadata: dict[str, Value | list[int]]
    can_be_cut: bool = True


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture("llama", _llama, {}),
        Architecture("qwen2", _qwen2, {}),
        # Its positions have several dimensions (M-RoPE), and each of them turns well.
        Architecture(
            "qwen2vl",
            _qwen2,
            {"rope.dimension_sections": [2, 3, 3, 0], "rope.freq_base": 20.0},
        ),
        # A picture's vectors are wider than tokens': they have parts for deeper layers.
        Architecture(
            "qwen3vl",
            _qwen3,
            {
                "rope.dimension_sections": [2, 3, 3, 0],
                "rope.freq_base": 20.0,
                "n_deepstack_layers": 1,
            },
        ),
        Architecture(
            "qwen35",
            _qwen35,
            {
                "rope.dimension_sections": [2, 3, 3, 0],
                "rope.freq_base": 20.0,
                "ssm.conv_kernel": D_CONV,
                "ssm.inner_size": DELTA_HEADS * D_STATE,
                "ssm.state_size": D_STATE,
                "ssm.time_step_rank": DELTA_HEADS,
                "ssm.group_count": DELTA_KEY_HEADS,
                "full_attention_interval": 2,
            },
            can_be_cut=False,
        ),
        Architecture("qwen3", _qwen3, {}),
        Architecture(
            "qwen3moe",
            _qwen3moe,
            {
                "expert_count": N_EXPERT,
                "expert_used_count": N_EXPERT_USED,
                "expert_feed_forward_length": N_FF,
            },
        ),
        Architecture(
            "gemma3",
            _gemma3,
            {"attention.sliding_window": WINDOW, "attention.sliding_window_pattern": 2},
            can_be_cut=False,
        ),
        Architecture(
            "mamba",
            _mamba,
            {
                "ssm.conv_kernel": D_CONV,
                "ssm.inner_size": D_INNER,
                "ssm.state_size": D_STATE,
                "ssm.time_step_rank": DT_RANK,
                "attention.head_count": 0,
                "feed_forward_length": 0,
            },
            can_be_cut=False,
        ),
        Architecture(
            "lfm2",
            _lfm2,
            {
                "shortconv.l_cache": 3,
                "attention.head_count_kv": [0, N_HEAD_KV] * (N_LAYER // 2),
            },
            can_be_cut=False,
        ),
    )
}


def write_random_architecture(path: Path, vocab_file: Path, name: str, seed: int = 5) -> Path:
    """A model of that architecture with the vocabulary of `vocab_file`."""
    architecture = ARCHITECTURES[name]
    vocabulary, n_vocab = tokenizer_entries(vocab_file)
    sizes: dict[str, Value | list[int]] = {
        "context_length": 2048,
        "embedding_length": N_EMBD,
        "block_count": N_LAYER,
        "feed_forward_length": N_FF,
        "attention.head_count": N_HEAD,
        "attention.head_count_kv": N_HEAD_KV,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "attention.key_length": HEAD_SIZE,
        "attention.value_length": HEAD_SIZE,
        "rope.dimension_count": HEAD_SIZE,
        "vocab_size": n_vocab,
        **architecture.metadata,
    }
    entries = encode_entries({"general.architecture": name, "general.name": f"random {name}"})
    for key, value in sizes.items():
        if isinstance(value, list):
            entries.append(_encode_integers(f"{name}.{key}", value))
        else:
            entries += encode_entries({f"{name}.{key}": value})
    weights = Weights(seed)
    norm_name = "token_embd_norm" if name == "lfm2" else "output_norm"
    tensors = {
        "token_embd.weight": weights.matrix(n_vocab, N_EMBD),
        f"{norm_name}.weight": weights.norm(),
        "output.weight": weights.matrix(n_vocab, N_EMBD),
    }
    for layer in range(N_LAYER):
        block = {"attn_norm.weight": weights.norm(), **architecture.block(weights, layer)}
        tensors |= {f"blk.{layer}.{part}": tensor for part, tensor in block.items()}
    return write_gguf(path, entries + vocabulary, tensors)


def _encode_integers(key: str, values: list[int]) -> bytes:
    # GGUF_TYPE_ARRAY and GGUF_TYPE_UINT32 of gguf.h.
    return encode_string(key) + struct.pack(f"<IIQ{len(values)}I", 9, 4, len(values), *values)
