"""llama.h: models. Loading and freeing, sizes, metadata, quantisation."""

# mypy: disable-error-code="empty-body"

from ctypes import c_char_p

from llamabind._capi.annotations import (
    CharBuffer,
    FilePtr,
    Ptr,
    VoidPtr,
    f32,
    i32,
    llama_token,
    size_t,
    u32,
    u64,
)
from llamabind._capi.callbacks import llama_model_set_tensor_data_t
from llamabind._capi.enums import llama_ftype, llama_model_meta_key, llama_rope_type
from llamabind._capi.handles import GgufPtr, ModelPtr, VocabPtr
from llamabind._capi.llama_structs import llama_model_params, llama_model_quantize_params
from llamabind._capi.loader import c_function


@c_function("llama")
def llama_model_init_from_user(
    metadata: GgufPtr,
    set_tensor_data: llama_model_set_tensor_data_t | None,
    set_tensor_data_ud: VoidPtr,
    params: llama_model_params,
) -> ModelPtr | None: ...


@c_function("llama")
def llama_model_load_from_file(
    path_model: bytes, params: llama_model_params
) -> ModelPtr | None: ...


@c_function("llama")
def llama_model_load_from_file_ptr(
    file: FilePtr, params: llama_model_params
) -> ModelPtr | None: ...


@c_function("llama")
def llama_model_load_from_splits(
    paths: Ptr[c_char_p], n_paths: size_t, params: llama_model_params
) -> ModelPtr | None: ...


@c_function("llama")
def llama_model_save_to_file(model: ModelPtr, path_model: bytes) -> None: ...


@c_function("llama")
def llama_model_free(model: ModelPtr) -> None: ...


@c_function("llama")
def llama_model_get_vocab(model: ModelPtr) -> VocabPtr: ...


@c_function("llama")
def llama_model_rope_type(model: ModelPtr) -> llama_rope_type: ...


@c_function("llama")
def llama_model_n_ctx_train(model: ModelPtr) -> i32: ...


@c_function("llama")
def llama_model_n_embd(model: ModelPtr) -> i32: ...


@c_function("llama")
def llama_model_n_embd_inp(model: ModelPtr) -> i32: ...


@c_function("llama")
def llama_model_n_embd_out(model: ModelPtr) -> i32: ...


@c_function("llama")
def llama_model_n_layer(model: ModelPtr) -> i32: ...


@c_function("llama")
def llama_model_n_layer_nextn(model: ModelPtr) -> i32: ...


@c_function("llama")
def llama_model_n_head(model: ModelPtr) -> i32: ...


@c_function("llama")
def llama_model_n_head_kv(model: ModelPtr) -> i32: ...


@c_function("llama")
def llama_model_n_swa(model: ModelPtr) -> i32: ...


@c_function("llama")
def llama_model_rope_freq_scale_train(model: ModelPtr) -> f32: ...


@c_function("llama")
def llama_model_n_cls_out(model: ModelPtr) -> u32: ...


@c_function("llama")
def llama_model_cls_label(model: ModelPtr, i: u32) -> bytes | None: ...


@c_function("llama")
def llama_model_meta_val_str(
    model: ModelPtr, key: bytes, buf: CharBuffer, buf_size: size_t
) -> i32: ...


@c_function("llama")
def llama_model_meta_count(model: ModelPtr) -> i32: ...


@c_function("llama")
def llama_model_meta_key_str(key: llama_model_meta_key) -> bytes | None: ...


@c_function("llama")
def llama_model_meta_key_by_index(
    model: ModelPtr, i: i32, buf: CharBuffer, buf_size: size_t
) -> i32: ...


@c_function("llama")
def llama_model_meta_val_str_by_index(
    model: ModelPtr, i: i32, buf: CharBuffer, buf_size: size_t
) -> i32: ...


@c_function("llama")
def llama_model_desc(model: ModelPtr, buf: CharBuffer, buf_size: size_t) -> i32: ...


@c_function("llama")
def llama_model_ftype(model: ModelPtr) -> llama_ftype: ...


@c_function("llama")
def llama_model_size(model: ModelPtr) -> u64: ...


@c_function("llama")
def llama_model_chat_template(model: ModelPtr, name: bytes | None) -> bytes | None: ...


@c_function("llama")
def llama_model_n_params(model: ModelPtr) -> u64: ...


@c_function("llama")
def llama_model_has_encoder(model: ModelPtr) -> bool: ...


@c_function("llama")
def llama_model_has_decoder(model: ModelPtr) -> bool: ...


@c_function("llama")
def llama_model_decoder_start_token(model: ModelPtr) -> llama_token: ...


@c_function("llama")
def llama_model_is_recurrent(model: ModelPtr) -> bool: ...


@c_function("llama")
def llama_model_is_hybrid(model: ModelPtr) -> bool: ...


@c_function("llama")
def llama_model_is_diffusion(model: ModelPtr) -> bool: ...


@c_function("llama")
def llama_model_quantize(
    fname_inp: bytes, fname_out: bytes, params: Ptr[llama_model_quantize_params]
) -> u32: ...
