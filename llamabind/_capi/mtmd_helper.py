"""mtmd-helper.h: media from files and bytes, evaluation of chunks, video."""

# mypy: disable-error-code="empty-body"

from ctypes import c_char_p, c_float, c_int32, c_void_p
from typing import Annotated

from llamabind._capi.annotations import ByteData, Ptr, VoidPtr, i32, llama_pos, llama_seq_id, size_t
from llamabind._capi.callbacks import ggml_log_callback, mtmd_helper_post_decode_callback
from llamabind._capi.handles import (
    ContextPtr,
    ImageTokensPtr,
    InputChunkPtr,
    InputChunksPtr,
    MtmdPtr,
    VideoPtr,
)
from llamabind._capi.loader import c_function
from llamabind._capi.mtmd_structs import (
    mtmd_decoder_pos,
    mtmd_helper_bitmap_wrapper,
    mtmd_helper_init_opt,
    mtmd_helper_video_info,
    mtmd_helper_video_init_params,
)


@c_function("mtmd")
def mtmd_helper_video_init_params_default() -> mtmd_helper_video_init_params: ...


@c_function("mtmd")
def mtmd_helper_init_opt_default() -> mtmd_helper_init_opt: ...


@c_function("mtmd")
def mtmd_helper_log_set(log_callback: ggml_log_callback | None, user_data: VoidPtr) -> None: ...


@c_function("mtmd")
def mtmd_helper_support_video(ctx: MtmdPtr) -> bool: ...


@c_function("mtmd")
def mtmd_helper_bitmap_init_from_file(
    ctx: MtmdPtr, fname: bytes, placeholder: bool, opt: mtmd_helper_init_opt
) -> mtmd_helper_bitmap_wrapper: ...


@c_function("mtmd")
def mtmd_helper_bitmap_init_from_buf(
    ctx: MtmdPtr, buf: ByteData, len: size_t, placeholder: bool, opt: mtmd_helper_init_opt
) -> mtmd_helper_bitmap_wrapper: ...


@c_function("mtmd")
def mtmd_helper_get_n_tokens(chunks: InputChunksPtr) -> size_t: ...


@c_function("mtmd")
def mtmd_helper_get_n_pos(chunks: InputChunksPtr) -> llama_pos: ...


@c_function("mtmd")
def mtmd_helper_image_get_decoder_pos(
    image: ImageTokensPtr, pos_0: llama_pos, out_pos: Ptr[mtmd_decoder_pos]
) -> None: ...


@c_function("mtmd")
def mtmd_helper_eval_chunks(
    ctx: MtmdPtr,
    lctx: ContextPtr,
    chunks: InputChunksPtr,
    n_past: llama_pos,
    seq_id: llama_seq_id,
    n_batch: i32,
    logits_last: bool,
    new_n_past: Ptr[c_int32],
) -> i32: ...


@c_function("mtmd")
def mtmd_helper_eval_chunk_single(
    ctx: MtmdPtr,
    lctx: ContextPtr,
    chunk: InputChunkPtr,
    n_past: llama_pos,
    seq_id: llama_seq_id,
    n_batch: i32,
    logits_last: bool,
    new_n_past: Ptr[c_int32],
) -> i32: ...


@c_function("mtmd")
def mtmd_helper_decode_image_chunk(
    ctx: MtmdPtr,
    lctx: ContextPtr,
    chunk: InputChunkPtr,
    encoded_embd: Ptr[c_float],
    n_past: llama_pos,
    seq_id: llama_seq_id,
    n_batch: i32,
    new_n_past: Ptr[c_int32],
    callback: mtmd_helper_post_decode_callback | None,
    user_data: VoidPtr,
) -> i32: ...


@c_function("mtmd")
def mtmd_helper_video_init(
    mctx: MtmdPtr, path: bytes, params: mtmd_helper_video_init_params
) -> VideoPtr | None: ...


@c_function("mtmd")
def mtmd_helper_video_init_from_buf(
    mctx: MtmdPtr, buf: ByteData, len: size_t, params: mtmd_helper_video_init_params
) -> VideoPtr | None: ...


@c_function("mtmd")
def mtmd_helper_video_free(ctx: VideoPtr) -> None: ...


@c_function("mtmd")
def mtmd_helper_video_get_info(ctx: VideoPtr) -> mtmd_helper_video_info: ...


@c_function("mtmd")
def mtmd_helper_video_read_next(
    ctx: VideoPtr, out_bitmap: Annotated[Ptr[c_void_p], "ptr<mtmd_bitmap>"], out_text: Ptr[c_char_p]
) -> i32: ...


@c_function("mtmd")
def mtmd_helper_model_can_chat(lctx: ContextPtr, mctx: MtmdPtr) -> bool: ...
