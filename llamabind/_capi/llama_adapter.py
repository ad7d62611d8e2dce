"""llama.h: LoRA adapters and control vectors."""

# mypy: disable-error-code="empty-body"

from ctypes import c_float, c_int32, c_void_p
from typing import Annotated

from llamabind._capi.annotations import CharBuffer, FilePtr, Pointer, Ptr, i32, size_t, u64
from llamabind._capi.handles import AdapterPtr, ContextPtr, ModelPtr
from llamabind._capi.loader import c_function


@c_function("llama")
def llama_adapter_lora_init(model: ModelPtr, path_lora: bytes) -> AdapterPtr | None: ...


@c_function("llama")
def llama_adapter_lora_init_from_file_ptr(model: ModelPtr, file: FilePtr) -> AdapterPtr | None: ...


@c_function("llama")
def llama_adapter_meta_val_str(
    adapter: AdapterPtr, key: bytes, buf: CharBuffer, buf_size: size_t
) -> i32: ...


@c_function("llama")
def llama_adapter_meta_count(adapter: AdapterPtr) -> i32: ...


@c_function("llama")
def llama_adapter_meta_key_by_index(
    adapter: AdapterPtr, i: i32, buf: CharBuffer, buf_size: size_t
) -> i32: ...


@c_function("llama")
def llama_adapter_meta_val_str_by_index(
    adapter: AdapterPtr, i: i32, buf: CharBuffer, buf_size: size_t
) -> i32: ...


@c_function("llama")
def llama_adapter_lora_free(adapter: AdapterPtr) -> None: ...


@c_function("llama")
def llama_adapter_get_alora_n_invocation_tokens(adapter: AdapterPtr) -> u64: ...


@c_function("llama")
def llama_adapter_get_alora_invocation_tokens(adapter: AdapterPtr) -> Pointer[c_int32]: ...


@c_function("llama")
def llama_set_adapters_lora(
    ctx: ContextPtr,
    adapters: Annotated[Ptr[c_void_p], "ptr<llama_adapter_lora>"],
    n_adapters: size_t,
    scales: Ptr[c_float],
) -> i32: ...


@c_function("llama")
def llama_set_adapter_cvec(
    ctx: ContextPtr, data: Ptr[c_float], len: size_t, n_embd: i32, il_start: i32, il_end: i32
) -> i32: ...
