"""The used part of gguf.h: reading a GGUF file's header."""

# mypy: disable-error-code="empty-body"

from ctypes import c_int64

from llamabind._capi.annotations import (
    Address,
    Pointer,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    size_t,
    u8,
    u16,
    u32,
    u64,
)
from llamabind._capi.enums import ggml_type, gguf_type
from llamabind._capi.ggml_structs import gguf_init_params
from llamabind._capi.handles import GgufPtr
from llamabind._capi.loader import c_function


@c_function("ggml-base")
def gguf_init_from_file(fname: bytes, params: gguf_init_params) -> GgufPtr | None: ...


@c_function("ggml-base")
def gguf_free(ctx: GgufPtr) -> None: ...


@c_function("ggml-base")
def gguf_type_name(type: gguf_type) -> bytes: ...


@c_function("ggml-base")
def gguf_get_version(ctx: GgufPtr) -> u32: ...


@c_function("ggml-base")
def gguf_get_alignment(ctx: GgufPtr) -> size_t: ...


@c_function("ggml-base")
def gguf_get_data_offset(ctx: GgufPtr) -> size_t: ...


@c_function("ggml-base")
def gguf_get_n_kv(ctx: GgufPtr) -> i64: ...


@c_function("ggml-base")
def gguf_find_key(ctx: GgufPtr, key: bytes) -> i64: ...


@c_function("ggml-base")
def gguf_get_key(ctx: GgufPtr, key_id: i64) -> bytes: ...


@c_function("ggml-base")
def gguf_get_kv_type(ctx: GgufPtr, key_id: i64) -> gguf_type: ...


@c_function("ggml-base")
def gguf_get_arr_type(ctx: GgufPtr, key_id: i64) -> gguf_type: ...


@c_function("ggml-base")
def gguf_get_val_u8(ctx: GgufPtr, key_id: i64) -> u8: ...


@c_function("ggml-base")
def gguf_get_val_i8(ctx: GgufPtr, key_id: i64) -> i8: ...


@c_function("ggml-base")
def gguf_get_val_u16(ctx: GgufPtr, key_id: i64) -> u16: ...


@c_function("ggml-base")
def gguf_get_val_i16(ctx: GgufPtr, key_id: i64) -> i16: ...


@c_function("ggml-base")
def gguf_get_val_u32(ctx: GgufPtr, key_id: i64) -> u32: ...


@c_function("ggml-base")
def gguf_get_val_i32(ctx: GgufPtr, key_id: i64) -> i32: ...


@c_function("ggml-base")
def gguf_get_val_f32(ctx: GgufPtr, key_id: i64) -> f32: ...


@c_function("ggml-base")
def gguf_get_val_u64(ctx: GgufPtr, key_id: i64) -> u64: ...


@c_function("ggml-base")
def gguf_get_val_i64(ctx: GgufPtr, key_id: i64) -> i64: ...


@c_function("ggml-base")
def gguf_get_val_f64(ctx: GgufPtr, key_id: i64) -> f64: ...


@c_function("ggml-base")
def gguf_get_val_bool(ctx: GgufPtr, key_id: i64) -> bool: ...


@c_function("ggml-base")
def gguf_get_val_str(ctx: GgufPtr, key_id: i64) -> bytes: ...


@c_function("ggml-base")
def gguf_get_val_data(ctx: GgufPtr, key_id: i64) -> Address | None: ...


@c_function("ggml-base")
def gguf_get_arr_n(ctx: GgufPtr, key_id: i64) -> size_t: ...


@c_function("ggml-base")
def gguf_get_arr_data(ctx: GgufPtr, key_id: i64) -> Address | None: ...


@c_function("ggml-base")
def gguf_get_arr_str(ctx: GgufPtr, key_id: i64, i: size_t) -> bytes: ...


@c_function("ggml-base")
def gguf_get_n_tensors(ctx: GgufPtr) -> i64: ...


@c_function("ggml-base")
def gguf_find_tensor(ctx: GgufPtr, name: bytes) -> i64: ...


@c_function("ggml-base")
def gguf_get_tensor_offset(ctx: GgufPtr, tensor_id: i64) -> size_t: ...


@c_function("ggml-base")
def gguf_get_tensor_name(ctx: GgufPtr, tensor_id: i64) -> bytes: ...


@c_function("ggml-base")
def gguf_get_tensor_ne(ctx: GgufPtr, tensor_id: i64) -> Pointer[c_int64]: ...


@c_function("ggml-base")
def gguf_get_tensor_type(ctx: GgufPtr, tensor_id: i64) -> ggml_type: ...


@c_function("ggml-base")
def gguf_get_tensor_size(ctx: GgufPtr, tensor_id: i64) -> size_t: ...
