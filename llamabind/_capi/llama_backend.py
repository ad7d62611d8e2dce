"""llama.h: names and versions, default parameters, the backend, what the build supports."""

# mypy: disable-error-code="empty-body"

from ctypes import c_void_p

from llamabind._capi.annotations import CharBuffer, Ptr, VoidPtr, i32, i64, size_t
from llamabind._capi.callbacks import ggml_log_callback
from llamabind._capi.enums import (
    ggml_numa_strategy,
    llama_flash_attn_type,
    llama_ftype,
    llama_load_mode,
)
from llamabind._capi.llama_structs import (
    llama_context_params,
    llama_model_params,
    llama_model_quantize_params,
    llama_sampler_chain_params,
)
from llamabind._capi.loader import c_function


@c_function("llama")
def llama_ftype_name(ftype: llama_ftype) -> bytes: ...


@c_function("llama")
def llama_flash_attn_type_name(flash_attn_type: llama_flash_attn_type) -> bytes: ...


@c_function("llama")
def llama_load_mode_name(load_mode: llama_load_mode) -> bytes: ...


@c_function("llama")
def llama_load_mode_from_str(str: bytes) -> llama_load_mode: ...


@c_function("llama")
def llama_version() -> bytes: ...


@c_function("llama")
def llama_model_default_params() -> llama_model_params: ...


@c_function("llama")
def llama_context_default_params() -> llama_context_params: ...


@c_function("llama")
def llama_sampler_chain_default_params() -> llama_sampler_chain_params: ...


@c_function("llama")
def llama_model_quantize_default_params() -> llama_model_quantize_params: ...


@c_function("llama")
def llama_backend_init() -> None: ...


@c_function("llama")
def llama_backend_free() -> None: ...


@c_function("llama")
def llama_numa_init(numa: ggml_numa_strategy) -> None: ...


@c_function("llama")
def llama_time_us() -> i64: ...


@c_function("llama")
def llama_max_devices() -> size_t: ...


@c_function("llama")
def llama_max_parallel_sequences() -> size_t: ...


@c_function("llama")
def llama_max_tensor_buft_overrides() -> size_t: ...


@c_function("llama")
def llama_supports_mmap() -> bool: ...


@c_function("llama")
def llama_supports_mlock() -> bool: ...


@c_function("llama")
def llama_supports_gpu_offload() -> bool: ...


@c_function("llama")
def llama_supports_rpc() -> bool: ...


@c_function("llama")
def llama_split_path(
    split_path: CharBuffer, maxlen: size_t, path_prefix: bytes, split_no: i32, split_count: i32
) -> i32: ...


@c_function("llama")
def llama_split_prefix(
    split_prefix: CharBuffer, maxlen: size_t, split_path: bytes, split_no: i32, split_count: i32
) -> i32: ...


@c_function("llama")
def llama_print_system_info() -> bytes: ...


@c_function("llama")
def llama_log_get(log_callback: Ptr[ggml_log_callback], user_data: Ptr[c_void_p]) -> None: ...


@c_function("llama")
def llama_log_set(log_callback: ggml_log_callback | None, user_data: VoidPtr) -> None: ...
