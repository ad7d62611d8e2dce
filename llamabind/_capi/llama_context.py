"""llama.h: contexts. Creation, sizes, threads, outputs, backend sampling, performance counters."""

# mypy: disable-error-code="empty-body"

from ctypes import c_float, c_int32

from llamabind._capi import enums
from llamabind._capi.annotations import Pointer, VoidPtr, i32, llama_seq_id, llama_token, u32
from llamabind._capi.callbacks import ggml_abort_callback
from llamabind._capi.handles import ContextPtr, MemoryPtr, ModelPtr, ThreadpoolPtr
from llamabind._capi.llama_structs import llama_context_params, llama_perf_context_data
from llamabind._capi.loader import c_function


@c_function("llama")
def llama_attach_threadpool(
    ctx: ContextPtr, threadpool: ThreadpoolPtr, threadpool_batch: ThreadpoolPtr | None
) -> None: ...


@c_function("llama")
def llama_detach_threadpool(ctx: ContextPtr) -> None: ...


@c_function("llama")
def llama_init_from_model(model: ModelPtr, params: llama_context_params) -> ContextPtr | None: ...


@c_function("llama")
def llama_free(ctx: ContextPtr) -> None: ...


@c_function("llama")
def llama_n_ctx(ctx: ContextPtr) -> u32: ...


@c_function("llama")
def llama_n_ctx_seq(ctx: ContextPtr) -> u32: ...


@c_function("llama")
def llama_n_batch(ctx: ContextPtr) -> u32: ...


@c_function("llama")
def llama_n_ubatch(ctx: ContextPtr) -> u32: ...


@c_function("llama")
def llama_n_seq_max(ctx: ContextPtr) -> u32: ...


@c_function("llama")
def llama_n_rs_seq(ctx: ContextPtr) -> u32: ...


@c_function("llama")
def llama_get_model(ctx: ContextPtr) -> ModelPtr: ...


@c_function("llama")
def llama_get_memory(ctx: ContextPtr) -> MemoryPtr | None: ...


@c_function("llama")
def llama_pooling_type(ctx: ContextPtr) -> enums.llama_pooling_type: ...


@c_function("llama")
def llama_set_n_threads(ctx: ContextPtr, n_threads: i32, n_threads_batch: i32) -> None: ...


@c_function("llama")
def llama_n_threads(ctx: ContextPtr) -> i32: ...


@c_function("llama")
def llama_n_threads_batch(ctx: ContextPtr) -> i32: ...


@c_function("llama")
def llama_set_embeddings(ctx: ContextPtr, embeddings: bool) -> None: ...


@c_function("llama")
def llama_set_causal_attn(ctx: ContextPtr, causal_attn: bool) -> None: ...


@c_function("llama")
def llama_get_causal_attn(ctx: ContextPtr) -> bool: ...


@c_function("llama")
def llama_set_abort_callback(
    ctx: ContextPtr, abort_callback: ggml_abort_callback | None, abort_callback_data: VoidPtr
) -> None: ...


@c_function("llama")
def llama_synchronize(ctx: ContextPtr) -> None: ...


@c_function("llama")
def llama_get_logits(ctx: ContextPtr) -> Pointer[c_float]: ...


@c_function("llama")
def llama_get_logits_ith(ctx: ContextPtr, i: i32) -> Pointer[c_float]: ...


@c_function("llama")
def llama_get_embeddings(ctx: ContextPtr) -> Pointer[c_float]: ...


@c_function("llama")
def llama_get_embeddings_ith(ctx: ContextPtr, i: i32) -> Pointer[c_float]: ...


@c_function("llama")
def llama_get_embeddings_seq(ctx: ContextPtr, seq_id: llama_seq_id) -> Pointer[c_float]: ...


@c_function("llama")
def llama_get_sampled_token_ith(ctx: ContextPtr, i: i32) -> llama_token: ...


@c_function("llama")
def llama_get_sampled_probs_ith(ctx: ContextPtr, i: i32) -> Pointer[c_float]: ...


@c_function("llama")
def llama_get_sampled_probs_count_ith(ctx: ContextPtr, i: i32) -> u32: ...


@c_function("llama")
def llama_get_sampled_logits_ith(ctx: ContextPtr, i: i32) -> Pointer[c_float]: ...


@c_function("llama")
def llama_get_sampled_logits_count_ith(ctx: ContextPtr, i: i32) -> u32: ...


@c_function("llama")
def llama_get_sampled_candidates_ith(ctx: ContextPtr, i: i32) -> Pointer[c_int32]: ...


@c_function("llama")
def llama_get_sampled_candidates_count_ith(ctx: ContextPtr, i: i32) -> u32: ...


@c_function("llama")
def llama_perf_context(ctx: ContextPtr) -> llama_perf_context_data: ...


@c_function("llama")
def llama_perf_context_print(ctx: ContextPtr) -> None: ...


@c_function("llama")
def llama_perf_context_reset(ctx: ContextPtr) -> None: ...
