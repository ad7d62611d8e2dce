"""mtmd.h: image and audio input. Its functions are not thread-safe, but for mtmd_tokenize."""

# mypy: disable-error-code="empty-body"

from ctypes import c_float, c_int32, c_size_t, c_uint8, c_void_p
from typing import Annotated

from llamabind._capi.annotations import (
    ByteData,
    CharBuffer,
    Pointer,
    Ptr,
    VoidPtr,
    c_int,
    i32,
    llama_pos,
    size_t,
    u32,
)
from llamabind._capi.callbacks import ggml_log_callback, mtmd_bitmap_lazy_callback
from llamabind._capi.enums import mtmd_input_chunk_type
from llamabind._capi.handles import (
    BitmapPtr,
    ImageTokensPtr,
    InputChunkPtr,
    InputChunksPtr,
    ModelPtr,
    MtmdBatchPtr,
    MtmdPtr,
)
from llamabind._capi.loader import c_function
from llamabind._capi.mtmd_structs import (
    mtmd_caps,
    mtmd_context_params,
    mtmd_decoder_pos,
    mtmd_input_part,
    mtmd_input_text,
)


@c_function("mtmd")
def mtmd_default_marker() -> bytes: ...


@c_function("mtmd")
def mtmd_context_params_default() -> mtmd_context_params: ...


@c_function("mtmd")
def mtmd_init_from_file(
    mmproj_fname: bytes, text_model: ModelPtr, ctx_params: mtmd_context_params
) -> MtmdPtr | None: ...


@c_function("mtmd")
def mtmd_free(ctx: MtmdPtr) -> None: ...


@c_function("mtmd")
def mtmd_decode_use_non_causal(ctx: MtmdPtr, chunk: InputChunkPtr | None) -> bool: ...


@c_function("mtmd")
def mtmd_decode_use_mrope(ctx: MtmdPtr) -> bool: ...


@c_function("mtmd")
def mtmd_support_vision(ctx: MtmdPtr) -> bool: ...


@c_function("mtmd")
def mtmd_support_audio(ctx: MtmdPtr) -> bool: ...


@c_function("mtmd")
def mtmd_get_audio_sample_rate(ctx: MtmdPtr) -> c_int: ...


@c_function("mtmd")
def mtmd_get_marker(ctx: MtmdPtr) -> bytes: ...


@c_function("mtmd")
def mtmd_bitmap_init(nx: u32, ny: u32, data: ByteData) -> BitmapPtr | None: ...


@c_function("mtmd")
def mtmd_bitmap_init_from_audio(n_samples: size_t, data: Ptr[c_float]) -> BitmapPtr | None: ...


@c_function("mtmd")
def mtmd_bitmap_get_nx(bitmap: BitmapPtr) -> u32: ...


@c_function("mtmd")
def mtmd_bitmap_get_ny(bitmap: BitmapPtr) -> u32: ...


@c_function("mtmd")
def mtmd_bitmap_get_data(bitmap: BitmapPtr) -> Pointer[c_uint8]: ...


@c_function("mtmd")
def mtmd_bitmap_get_n_bytes(bitmap: BitmapPtr) -> size_t: ...


@c_function("mtmd")
def mtmd_bitmap_is_audio(bitmap: BitmapPtr) -> bool: ...


@c_function("mtmd")
def mtmd_bitmap_free(bitmap: BitmapPtr) -> None: ...


@c_function("mtmd")
def mtmd_bitmap_get_id(bitmap: BitmapPtr) -> bytes | None: ...


@c_function("mtmd")
def mtmd_bitmap_set_id(bitmap: BitmapPtr, id: bytes | None) -> None: ...


@c_function("mtmd")
def mtmd_bitmap_set_mergeable(bitmap: BitmapPtr, mergeable: bool) -> None: ...


@c_function("mtmd")
def mtmd_bitmap_init_lazy(
    ctx: MtmdPtr, id: bytes | None, user_data: VoidPtr, callback: mtmd_bitmap_lazy_callback | None
) -> BitmapPtr | None: ...


@c_function("mtmd")
def mtmd_input_chunks_init() -> InputChunksPtr: ...


@c_function("mtmd")
def mtmd_input_chunks_size(chunks: InputChunksPtr) -> size_t: ...


@c_function("mtmd")
def mtmd_input_chunks_get(chunks: InputChunksPtr, idx: size_t) -> InputChunkPtr: ...


@c_function("mtmd")
def mtmd_input_chunks_free(chunks: InputChunksPtr) -> None: ...


@c_function("mtmd")
def mtmd_input_chunk_get_type(chunk: InputChunkPtr) -> mtmd_input_chunk_type: ...


@c_function("mtmd")
def mtmd_input_chunk_get_tokens_text(
    chunk: InputChunkPtr, n_tokens_output: Ptr[c_size_t]
) -> Pointer[c_int32]: ...


@c_function("mtmd")
def mtmd_input_chunk_get_tokens_image(chunk: InputChunkPtr) -> ImageTokensPtr | None: ...


@c_function("mtmd")
def mtmd_input_chunk_get_n_tokens(chunk: InputChunkPtr) -> size_t: ...


@c_function("mtmd")
def mtmd_input_chunk_get_id(chunk: InputChunkPtr) -> bytes | None: ...


@c_function("mtmd")
def mtmd_input_chunk_get_n_pos(chunk: InputChunkPtr) -> llama_pos: ...


@c_function("mtmd")
def mtmd_input_chunk_copy(chunk: InputChunkPtr) -> InputChunkPtr | None: ...


@c_function("mtmd")
def mtmd_input_chunk_free(chunk: InputChunkPtr) -> None: ...


@c_function("mtmd")
def mtmd_input_chunk_get_placeholder(chunk: InputChunkPtr) -> InputChunkPtr | None: ...


@c_function("mtmd")
def mtmd_input_chunk_save(
    chunk: InputChunkPtr, out_buf: CharBuffer, out_len: size_t, expected_out_len: Ptr[c_size_t]
) -> i32: ...


@c_function("mtmd")
def mtmd_input_chunk_load(buf: bytes, len: size_t) -> InputChunkPtr | None: ...


@c_function("mtmd")
def mtmd_image_tokens_get_n_tokens(image_tokens: ImageTokensPtr) -> size_t: ...


@c_function("mtmd")
def mtmd_image_tokens_get_id(image_tokens: ImageTokensPtr) -> bytes: ...


@c_function("mtmd")
def mtmd_image_tokens_get_n_pos(image_tokens: ImageTokensPtr) -> llama_pos: ...


@c_function("mtmd")
def mtmd_image_tokens_get_decoder_pos(
    image_tokens: ImageTokensPtr, pos_0: llama_pos, i: size_t
) -> mtmd_decoder_pos: ...


@c_function("mtmd")
def mtmd_tokenize(
    ctx: MtmdPtr,
    output: InputChunksPtr,
    text: Ptr[mtmd_input_text],
    bitmaps: Annotated[Ptr[c_void_p], "ptr<mtmd_bitmap>"],
    n_bitmaps: size_t,
) -> i32: ...


@c_function("mtmd")
def mtmd_tokenize_from_parts(
    ctx: MtmdPtr,
    output: InputChunksPtr,
    parts: Ptr[Pointer[mtmd_input_part]],
    n_parts: size_t,
    add_special: bool,
) -> i32: ...


@c_function("mtmd")
def mtmd_encode_chunk(ctx: MtmdPtr, chunk: InputChunkPtr) -> i32: ...


@c_function("mtmd")
def mtmd_get_output_embd(ctx: MtmdPtr) -> Pointer[c_float]: ...


@c_function("mtmd")
def mtmd_batch_init(ctx: MtmdPtr) -> MtmdBatchPtr | None: ...


@c_function("mtmd")
def mtmd_batch_free(batch: MtmdBatchPtr) -> None: ...


@c_function("mtmd")
def mtmd_batch_add_chunk(batch: MtmdBatchPtr, chunk: InputChunkPtr) -> i32: ...


@c_function("mtmd")
def mtmd_batch_encode(batch: MtmdBatchPtr) -> i32: ...


@c_function("mtmd")
def mtmd_batch_get_output_embd(batch: MtmdBatchPtr, chunk: InputChunkPtr) -> Pointer[c_float]: ...


@c_function("mtmd")
def mtmd_log_set(log_callback: ggml_log_callback | None, user_data: VoidPtr) -> None: ...


@c_function("mtmd")
def mtmd_get_cap_from_file(mmproj_fname: bytes) -> mtmd_caps: ...
