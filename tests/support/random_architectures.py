"""Tiny models with random weights, one for each kind of memory in llama.cpp."""

import copy
import functools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf_writer import Value, encode_entries, encode_string, tokenizer_entries, write_gguf

from tests.support.weight_types import in_type

N_LAYER, N_HEAD, N_HEAD_KV = 4, 4, 2
N_EXPERT, N_EXPERT_USED = 4, 2
WINDOW = 16
D_STATE, D_CONV, DT_RANK = 16, 4, 4
DELTA_HEADS, DELTA_KEY_HEADS = 4, 2

Tensors = dict[str, np.ndarray]
Metadata = dict[str, Value | list[int]]


class Sizes:
    """The widths of a model of 64 or of 256: quantised rows are whole blocks of 32 or of 256."""

    def __init__(self, n_embd: int) -> None:
        self.n_embd = n_embd

    @property
    def n_ff(self) -> int:
        return 2 * self.n_embd

    @property
    def head(self) -> int:
        return self.n_embd // N_HEAD

    @property
    def n_kv(self) -> int:
        return self.head * N_HEAD_KV

    @property
    def d_inner(self) -> int:
        return 2 * self.n_embd

    @property
    def delta_state(self) -> int:
        return self.n_embd // DELTA_HEADS

    @property
    def rope_sections(self) -> list[int]:
        return [share * self.head // 16 for share in (2, 3, 3, 0)]


class Weights(Sizes):
    """Makes random tensors of these widths; equal seeds make equal ones."""

    def __init__(self, n_embd: int, seed: int) -> None:
        super().__init__(n_embd)
        self._random = np.random.default_rng(seed)

    def matrix(self, *shape: int, dtype: type = np.float16) -> np.ndarray:
        """Random weights that preserve the norm of a vector of shape[-1] numbers."""
        return (self._random.standard_normal(shape) * shape[-1] ** -0.5).astype(dtype)

    def vector(self, n: int) -> np.ndarray:
        return (self._random.standard_normal(n) * 0.1).astype(np.float32)

    def norm(self, n: int = 0) -> np.ndarray:
        """As wide as the model by default."""
        return 1 + self.vector(n or self.n_embd)


def _attention(weights: Weights) -> Tensors:
    return {
        "attn_q.weight": weights.matrix(weights.n_embd, weights.n_embd),
        "attn_k.weight": weights.matrix(weights.n_kv, weights.n_embd),
        "attn_v.weight": weights.matrix(weights.n_kv, weights.n_embd),
        "attn_output.weight": weights.matrix(weights.n_embd, weights.n_embd),
    }


def _head_norms(weights: Weights) -> Tensors:
    return {
        "attn_q_norm.weight": weights.norm(weights.head),
        "attn_k_norm.weight": weights.norm(weights.head),
    }


def _feed_forward(weights: Weights) -> Tensors:
    return {
        "ffn_norm.weight": weights.norm(),
        "ffn_gate.weight": weights.matrix(weights.n_ff, weights.n_embd),
        "ffn_up.weight": weights.matrix(weights.n_ff, weights.n_embd),
        "ffn_down.weight": weights.matrix(weights.n_embd, weights.n_ff),
    }


def _llama(weights: Weights, layer: int) -> Tensors:
    return _attention(weights) | _feed_forward(weights)


def _qwen2(weights: Weights, layer: int) -> Tensors:
    biases = {
        "attn_q.bias": weights.vector(weights.n_embd),
        "attn_k.bias": weights.vector(weights.n_kv),
        "attn_v.bias": weights.vector(weights.n_kv),
    }
    return _llama(weights, layer) | biases


def _qwen3(weights: Weights, layer: int) -> Tensors:
    return _llama(weights, layer) | _head_norms(weights)


def _qwen3moe(weights: Weights, layer: int) -> Tensors:
    return {
        **_attention(weights),
        **_head_norms(weights),
        "ffn_norm.weight": weights.norm(),
        "ffn_gate_inp.weight": weights.matrix(N_EXPERT, weights.n_embd, dtype=np.float32),
        "ffn_gate_exps.weight": _experts(weights, weights.n_ff, weights.n_embd),
        "ffn_up_exps.weight": _experts(weights, weights.n_ff, weights.n_embd),
        "ffn_down_exps.weight": _experts(weights, weights.n_embd, weights.n_ff),
    }


def _experts(weights: Weights, rows: int, columns: int) -> np.ndarray:
    """Nearly equal experts: where rounding selects another one, the logits change little."""
    own = weights.matrix(N_EXPERT, rows, columns)
    return weights.matrix(rows, columns) + np.float16(0.03) * own


def _glm4moe(weights: Weights, layer: int) -> Tensors:
    """Experts and one that all tokens share in all layers but the first."""
    block = {**_attention(weights), "post_attention_norm.weight": weights.norm()}
    if layer == 0:
        dense = _feed_forward(weights)
        del dense["ffn_norm.weight"]
        return block | dense
    return {
        **block,
        "ffn_gate_inp.weight": weights.matrix(N_EXPERT, weights.n_embd, dtype=np.float32),
        "exp_probs_b.bias": weights.vector(N_EXPERT),
        "ffn_gate_exps.weight": _experts(weights, weights.n_ff, weights.n_embd),
        "ffn_up_exps.weight": _experts(weights, weights.n_ff, weights.n_embd),
        "ffn_down_exps.weight": _experts(weights, weights.n_embd, weights.n_ff),
        "ffn_gate_shexp.weight": weights.matrix(weights.n_ff, weights.n_embd),
        "ffn_up_shexp.weight": weights.matrix(weights.n_ff, weights.n_embd),
        "ffn_down_shexp.weight": weights.matrix(weights.n_embd, weights.n_ff),
    }


def _gemma3(weights: Weights, layer: int) -> Tensors:
    return {
        **_qwen3(weights, layer),
        "post_attention_norm.weight": weights.norm(),
        "post_ffw_norm.weight": weights.norm(),
    }


def _gemma4(weights: Weights, layer: int) -> Tensors:
    """Layers without a window scale their frequencies; all share the factors of the first."""
    return {
        **_gemma3(weights, layer),
        "layer_output_scale.weight": np.ones(1, np.float32),
    }


def _mamba(weights: Weights, layer: int) -> Tensors:
    return {
        "ssm_in.weight": weights.matrix(2 * weights.d_inner, weights.n_embd),
        "ssm_conv1d.weight": weights.matrix(weights.d_inner, D_CONV, dtype=np.float32),
        "ssm_conv1d.bias": weights.vector(weights.d_inner),
        "ssm_x.weight": weights.matrix(DT_RANK + 2 * D_STATE, weights.d_inner),
        "ssm_dt.weight": weights.matrix(weights.d_inner, DT_RANK),
        "ssm_dt.bias": weights.vector(weights.d_inner),
        "ssm_a": -np.exp(weights.matrix(weights.d_inner, D_STATE, dtype=np.float32)),
        "ssm_d": weights.norm(weights.d_inner),
        "ssm_out.weight": weights.matrix(weights.n_embd, weights.d_inner),
    }


def _lfm2(weights: Weights, layer: int) -> Tensors:
    if layer % 2:
        return _qwen3(weights, layer)
    return {
        **_feed_forward(weights),
        "shortconv.conv.weight": weights.matrix(weights.n_embd, 3, dtype=np.float32),
        "shortconv.in_proj.weight": weights.matrix(3 * weights.n_embd, weights.n_embd),
        "shortconv.out_proj.weight": weights.matrix(weights.n_embd, weights.n_embd),
    }


def _qwen35(weights: Weights, layer: int) -> Tensors:
    """A gated delta net, and attention with a gate in each second layer."""
    block = {
        "post_attention_norm.weight": weights.norm(),
        "ffn_gate.weight": weights.matrix(weights.n_ff, weights.n_embd),
        "ffn_up.weight": weights.matrix(weights.n_ff, weights.n_embd),
        "ffn_down.weight": weights.matrix(weights.n_embd, weights.n_ff),
    }
    if layer % 2:
        gated = {"attn_q.weight": weights.matrix(2 * weights.n_embd, weights.n_embd)}
        return block | _attention(weights) | _head_norms(weights) | gated
    n_key, n_value = (
        DELTA_KEY_HEADS * weights.delta_state,
        DELTA_HEADS * weights.delta_state,
    )
    return {
        **block,
        "attn_qkv.weight": weights.matrix(2 * n_key + n_value, weights.n_embd),
        "attn_gate.weight": weights.matrix(n_value, weights.n_embd),
        "ssm_conv1d.weight": weights.matrix(2 * n_key + n_value, D_CONV, dtype=np.float32),
        "ssm_dt.bias": weights.vector(DELTA_HEADS),
        "ssm_a": -np.exp(weights.vector(DELTA_HEADS)),
        "ssm_beta.weight": weights.matrix(DELTA_HEADS, weights.n_embd),
        "ssm_alpha.weight": weights.matrix(DELTA_HEADS, weights.n_embd),
        "ssm_norm.weight": weights.norm(weights.delta_state),
        "ssm_out.weight": weights.matrix(weights.n_embd, n_value),
    }


@dataclass(frozen=True)
class Architecture:
    """What a model of this architecture has beyond embeddings and output.

    `block` makes the tensors of a layer, its attn_norm apart. `can_be_cut` is false with a sliding
    window or a recurrent state.
    """

    name: str
    block: Callable[[Weights, int], Tensors]
    metadata: Callable[[Sizes], Metadata]
    can_be_cut: bool = True


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture("llama", _llama, lambda _: {}),
        Architecture("qwen2", _qwen2, lambda _: {}),
        # Its positions have several dimensions (M-RoPE), and each of them turns well.
        Architecture(
            "qwen2vl",
            _qwen2,
            lambda sizes: {"rope.dimension_sections": sizes.rope_sections, "rope.freq_base": 20.0},
        ),
        # The vectors of an image are wider than those of tokens: they have parts for deeper layers.
        Architecture(
            "qwen3vl",
            _qwen3,
            lambda sizes: {
                "rope.dimension_sections": sizes.rope_sections,
                "rope.freq_base": 20.0,
                "n_deepstack_layers": 1,
            },
        ),
        Architecture(
            "qwen35",
            _qwen35,
            lambda sizes: {
                "rope.dimension_sections": sizes.rope_sections,
                "rope.freq_base": 20.0,
                "ssm.conv_kernel": D_CONV,
                "ssm.inner_size": DELTA_HEADS * sizes.delta_state,
                "ssm.state_size": sizes.delta_state,
                "ssm.time_step_rank": DELTA_HEADS,
                "ssm.group_count": DELTA_KEY_HEADS,
                "full_attention_interval": 2,
            },
            can_be_cut=False,
        ),
        Architecture("qwen3", _qwen3, lambda _: {}),
        Architecture(
            "qwen3moe",
            _qwen3moe,
            lambda sizes: {
                "expert_count": N_EXPERT,
                "expert_used_count": N_EXPERT_USED,
                "expert_feed_forward_length": sizes.n_ff,
            },
        ),
        Architecture(
            "glm4moe",
            _glm4moe,
            lambda sizes: {
                "expert_count": N_EXPERT,
                "expert_used_count": N_EXPERT_USED,
                "expert_feed_forward_length": sizes.n_ff,
                "expert_shared_count": 1,
                "leading_dense_block_count": 1,
            },
        ),
        Architecture(
            "gemma3",
            _gemma3,
            lambda sizes: {
                "attention.sliding_window": WINDOW,
                "attention.sliding_window_pattern": 2,
            },
            can_be_cut=False,
        ),
        Architecture(
            "gemma4",
            _gemma4,
            lambda sizes: {
                "attention.sliding_window": WINDOW,
                "attention.sliding_window_pattern": [1, 0] * (N_LAYER // 2),
                "attention.key_length_swa": sizes.head,
                "attention.value_length_swa": sizes.head,
                "rope.dimension_count_swa": sizes.head,
                "embedding_length_per_layer_input": 0,
            },
            can_be_cut=False,
        ),
        Architecture(
            "mamba",
            _mamba,
            lambda sizes: {
                "ssm.conv_kernel": D_CONV,
                "ssm.inner_size": sizes.d_inner,
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
            lambda sizes: {
                "shortconv.l_cache": 3,
                "attention.head_count_kv": [0, N_HEAD_KV] * (N_LAYER // 2),
            },
            can_be_cut=False,
        ),
    )
}


def write_random_architecture(
    path: Path,
    vocab_file: Path,
    name: str | Architecture,
    seed: int = 5,
    weight_type: str = "f16",
    change: Callable[[Weights, Metadata, Tensors], None] | None = None,
) -> Path:
    """A model of that architecture with the vocabulary of `vocab_file`.

    Its matrices are of `weight_type` (weight_types.py) where their rows are whole blocks of it.
    `change` may change the metadata, by key without the architecture, and the tensors.
    """
    architecture = name if isinstance(name, Architecture) else ARCHITECTURES[name]
    name = architecture.name
    vocabulary, n_vocab = tokenizer_entries(vocab_file)
    begun, (embeddings, norm, output) = _begin(n_vocab, seed, weight_type)
    weights = copy.deepcopy(begun)
    sizes: Metadata = {
        "context_length": 2048,
        "embedding_length": weights.n_embd,
        "block_count": N_LAYER,
        "feed_forward_length": weights.n_ff,
        "attention.head_count": N_HEAD,
        "attention.head_count_kv": N_HEAD_KV,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "attention.key_length": weights.head,
        "attention.value_length": weights.head,
        "rope.dimension_count": weights.head,
        "vocab_size": n_vocab,
        **architecture.metadata(weights),
    }
    norm_name = "token_embd_norm" if name == "lfm2" else "output_norm"
    tensors = {
        "token_embd.weight": embeddings,
        f"{norm_name}.weight": norm.copy(),
        "output.weight": output,
    }
    for layer in range(N_LAYER):
        block = {"attn_norm.weight": weights.norm(), **architecture.block(weights, layer)}
        tensors |= {f"blk.{layer}.{part}": tensor for part, tensor in block.items()}
    if name == "gemma4":
        tensors["rope_freqs.weight"] = np.ones(weights.head // 2, np.float32)
    if change is not None:
        change(weights, sizes, tensors)
    entries = encode_entries({"general.architecture": name, "general.name": f"random {name}"})
    entries += encode_metadata(name, sizes)
    # Those of the vocabulary are of the type already.
    blocks = {key: one for key, one in tensors.items() if key.startswith("blk.")}
    stored = tensors | {key: in_type(one, weight_type) for key, one in blocks.items()}
    return write_gguf(path, entries + vocabulary, stored)


def encode_metadata(name: str, metadata: Metadata) -> list[bytes]:
    """The metadata of an architecture, whose name comes before each key."""
    entries: list[bytes] = []
    for key, value in metadata.items():
        if isinstance(value, list):
            entries.append(_encode_integers(f"{name}.{key}", value))
        else:
            entries += encode_entries({f"{name}.{key}": value})
    return entries


@functools.lru_cache(maxsize=4)
def _begin(n_vocab: int, seed: int, weight_type: str) -> tuple[Weights, tuple[np.ndarray, ...]]:
    """What makes the weights of blocks, and the tensors before them: half a second of work."""
    weights = Weights(256 if weight_type == "q4_k" else 64, seed)
    embeddings = weights.matrix(n_vocab, weights.n_embd)
    norm = weights.norm()
    output = weights.matrix(n_vocab, weights.n_embd)
    kept = (in_type(embeddings, weight_type), norm, in_type(output, weight_type))
    for tensor in kept:
        tensor.setflags(write=False)
    return weights, kept


def _encode_integers(key: str, values: list[int]) -> bytes:
    # GGUF_TYPE_ARRAY and GGUF_TYPE_UINT32 of gguf.h.
    return encode_string(key) + struct.pack(f"<IIQ{len(values)}I", 9, 4, len(values), *values)
