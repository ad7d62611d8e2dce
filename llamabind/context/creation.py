"""Makes a native context from ContextParams, after checking what native code would abort on."""

import ctypes
import logging
import re
from typing import TYPE_CHECKING, Final

from llamabind._capi import enums, llama, shim, types
from llamabind.context.params import ContextParams
from llamabind.errors import ContextCreateError
from llamabind.native.kernels import attention_in_use, products_in_use
from llamabind.native.log import native_log

if TYPE_CHECKING:
    from llamabind.native.model import Model

_FLASH_ATTN: Final = {
    "auto": enums.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": enums.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": enums.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}
# What llama_init_from_model and llama_kv_cache log for settings that the model does not support.
_MISFIT: Final = re.compile(
    r"does not divide|requires? flash_attn|does not support|cannot both be zero|not supported"
)
_AUTO_ON: Final = re.compile(r"flash attention enabled", re.IGNORECASE)
_SAME_NAME: Final = (
    "n_ctx",
    "n_batch",
    "n_ubatch",
    "n_seq_max",
    "n_rs_seq",
    "n_outputs_max",
    "kv_unified",
    "swa_full",
    "embeddings",
    "offload_kqv",
    "op_offload",
    "no_perf",
)


def create_context(
    model: "Model", params: ContextParams, other: types.ContextHandle | None = None
) -> tuple[types.ContextHandle, bool]:
    """Return a new native context and whether it uses flash attention.

    `other` is the context of the model that a draft model reads, for one that needs it.

    Raises ContextCreateError with the last native log lines.
    """
    _check(model, params)
    position = native_log.position()
    c_params = c_context_params(params)
    if other is not None:
        c_params.ctx_other = other
    handle = shim.lb_context_init(
        model.ptr,
        ctypes.byref(c_params),
        attention_in_use().encode(),
        products_in_use().encode(),
        params.deterministic,
        params.settle_ms,
    )
    if not handle:
        text = "\n".join(native_log.lines_since(position)[-5:])
        reason = "invalid_parameter" if _MISFIT.search(text) else "out_of_memory"
        raise ContextCreateError(text or "llama.cpp gave no reason", reason)
    return handle, _flash_attn(params, native_log.lines_since(position, logging.INFO))


def c_context_params(params: ContextParams) -> types.llama_context_params:
    """Return the C struct."""
    c_params = llama.llama_context_default_params()
    for name in _SAME_NAME:
        setattr(c_params, name, getattr(params, name))
    for name, value in params.rope.numbers().items():
        setattr(c_params, name, value)
    if params.n_threads is not None:
        c_params.n_threads = params.n_threads
    if params.n_threads_batch is not None:
        c_params.n_threads_batch = params.n_threads_batch
    c_params.type_k = _cache_type(params.type_k)
    c_params.type_v = _cache_type(params.type_v)
    c_params.ctx_type = enums.llama_context_type[f"LLAMA_CONTEXT_TYPE_{params.kind.upper()}"]
    c_params.flash_attn_type = _FLASH_ATTN[params.flash_attn]
    c_params.pooling_type = enums.llama_pooling_type[_member("POOLING", params.pooling_type)]
    c_params.attention_type = enums.llama_attention_type[
        _member("ATTENTION", params.attention_type)
    ]
    c_params.rope_scaling_type = enums.llama_rope_scaling_type[
        _member("ROPE_SCALING", params.rope.rope_scaling)
    ]
    return c_params


def _check(model: "Model", params: ContextParams) -> None:
    if model.params.vocab_only:
        raise ContextCreateError("the model was loaded without its weights")
    if params.deterministic and model.params.use_extra_bufts is not False:
        raise ContextCreateError(
            "deterministic needs weights in the file's layout: load the model with "
            "use_extra_bufts=False",
            "invalid_parameter",
        )
    n_ctx = params.n_ctx or model.n_ctx_train
    # llama_context reserves one output per sequence, out of min(n_batch, n_ctx), or aborts.
    if params.n_seq_max > min(params.n_batch, n_ctx):
        raise ContextCreateError(
            f"n_seq_max is {params.n_seq_max}, but it cannot exceed n_batch ({params.n_batch}) "
            f"or n_ctx ({n_ctx})"
        )


def _flash_attn(params: ContextParams, lines: list[str]) -> bool:
    """Read the effective setting from the log: no function returns what "auto" chose, and for some
    models llama.cpp turns it off in spite of "on".
    """
    text = "\n".join(lines)
    if "forcing off" in text:
        return False
    if params.flash_attn != "auto":
        return params.flash_attn == "on"
    return "enabling flash_attn" in text or _AUTO_ON.search(text) is not None


def _cache_type(name: str) -> int:
    return enums.ggml_type[f"GGML_TYPE_{name.upper()}"]


def _member(enum_name: str, word: str | None) -> str:
    return f"LLAMA_{enum_name}_TYPE_{(word or 'unspecified').upper()}"
