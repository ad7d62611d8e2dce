"""The structs of mtmd.h and mtmd-helper.h that image, audio and video input need."""

from ctypes import Structure, c_float, c_int32
from typing import Annotated

from llamabind._capi.annotations import (
    Address,
    Pointer,
    c_int,
    c_struct,
    f32,
    i32,
    i64,
    llama_seq_id,
    size_t,
    u32,
)
from llamabind._capi.callbacks import ggml_backend_sched_eval_callback, mtmd_progress_callback
from llamabind._capi.enums import llama_flash_attn_type
from llamabind._capi.handles import BitmapPtr, DevicePtr, VideoPtr


@c_struct
class mtmd_input_text(Structure):
    __slots__ = ()
    text: bytes | None
    text_len: size_t
    add_special: bool
    parse_special: bool


@c_struct
class mtmd_input_part(Structure):
    """Either text or bitmap, never both."""

    __slots__ = ()
    text: Pointer[mtmd_input_text]
    bitmap: BitmapPtr | None


@c_struct
class mtmd_context_params(Structure):
    __slots__ = ()
    use_gpu: bool
    device: DevicePtr | None
    print_timings: bool
    n_threads: c_int
    image_marker: bytes | None  # deprecated in the header
    media_marker: bytes | None
    flash_attn_type: Annotated[int, llama_flash_attn_type]
    warmup: bool
    image_min_tokens: c_int
    image_max_tokens: c_int
    cb_eval: ggml_backend_sched_eval_callback
    cb_eval_user_data: Address | None
    batch_max_tokens: i32
    progress_callback: mtmd_progress_callback
    progress_callback_user_data: Address | None


@c_struct
class mtmd_decoder_pos(Structure):
    __slots__ = ()
    t: u32
    x: u32
    y: u32
    z: u32


@c_struct
class mtmd_caps(Structure):
    __slots__ = ()
    inp_vision: bool
    inp_audio: bool


@c_struct
class mtmd_helper_video_init_params(Structure):
    __slots__ = ()
    fps_target: f32
    ffmpeg_bin_dir: bytes | None
    timestamp_interval_ms: i64


@c_struct
class mtmd_helper_init_opt(Structure):
    __slots__ = ()
    video_params: mtmd_helper_video_init_params


@c_struct
class mtmd_helper_bitmap_wrapper(Structure):
    __slots__ = ()
    bitmap: BitmapPtr | None
    video_ctx: VideoPtr | None


@c_struct
class mtmd_helper_embd_batch(Structure):
    __slots__ = ()
    n_tokens: i32
    embd: Pointer[c_float]
    n_embd: i32
    pos: Pointer[c_int32]
    n_pos: i32
    seq_id: llama_seq_id


@c_struct
class mtmd_helper_video_info(Structure):
    __slots__ = ()
    width: u32
    height: u32
    fps: f32
    n_frames: i32
