"""Makes a native context from ContextParams, after the checks that native code aborts on."""

from typing import TYPE_CHECKING, Final

from llamabind._capi import enums, llama, types
from llamabind.context_params import ContextParams
from llamabind.errors import ContextCreateError
from llamabind.log import native_log

if TYPE_CHECKING:
    from llamabind.model import Model

_FLASH_ATTN: Final = {
    "auto": enums.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": enums.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": enums.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}
_SAME_NAME: Final = (
    "n_ctx",
    "n_batch",
    "n_ubatch",
    "n_seq_max",
    "n_rs_seq",
    "rope_freq_base",
    "rope_freq_scale",
    "yarn_ext_factor",
    "yarn_attn_factor",
    "yarn_beta_fast",
    "yarn_beta_slow",
    "yarn_orig_ctx",
    "kv_unified",
    "swa_full",
    "embeddings",
    "offload_kqv",
    "op_offload",
    "no_perf",
)


def create_context(model: "Model", params: ContextParams) -> types.ContextHandle:
    """Return a new native context; ContextCreateError carries the last native log lines."""
    _check(model, params)
    position = native_log.position()
    handle = llama.llama_init_from_model(model.ptr, c_context_params(params))
    if not handle:
        lines = native_log.lines_since(position)[-5:]
        raise ContextCreateError("\n".join(lines) or "llama.cpp gave no reason")
    return handle


def c_context_params(params: ContextParams) -> types.llama_context_params:
    """Return the C struct."""
    c_params = llama.llama_context_default_params()
    for name in _SAME_NAME:
        setattr(c_params, name, getattr(params, name))
    if params.n_threads is not None:
        c_params.n_threads = params.n_threads
    if params.n_threads_batch is not None:
        c_params.n_threads_batch = params.n_threads_batch
    c_params.type_k = _cache_type(params.type_k)
    c_params.type_v = _cache_type(params.type_v)
    c_params.flash_attn_type = _FLASH_ATTN[params.flash_attn]
    c_params.pooling_type = enums.llama_pooling_type[_member("POOLING", params.pooling_type)]
    c_params.attention_type = enums.llama_attention_type[
        _member("ATTENTION", params.attention_type)
    ]
    c_params.rope_scaling_type = enums.llama_rope_scaling_type[
        _member("ROPE_SCALING", params.rope_scaling_type)
    ]
    return c_params


def _check(model: "Model", params: ContextParams) -> None:
    if model.params.vocab_only or model.params.no_alloc:
        raise ContextCreateError("the model was loaded without its weights")
    n_ctx = params.n_ctx or model.n_ctx_train
    # llama_context reserves one output per sequence, out of min(n_batch, n_ctx), or aborts.
    if params.n_seq_max > min(params.n_batch, n_ctx):
        raise ContextCreateError(
            f"{params.n_seq_max} sequences need n_batch and n_ctx of at least as many, "
            f"but they are {params.n_batch} and {n_ctx}"
        )


def _cache_type(name: str) -> int:
    return enums.ggml_type[f"GGML_TYPE_{name.upper()}"]


def _member(enum_name: str, word: str | None) -> str:
    return f"LLAMA_{enum_name}_TYPE_{(word or 'unspecified').upper()}"
