"""Callback types. The caller must keep a callback object alive as long as C may call it.

A pointer argument arrives as an address (None when NULL). An exception in a callback is printed and
0 is returned to C: catch it inside.
"""

from _ctypes import FUNCFLAG_CDECL, CFuncPtr
from ctypes import (
    POINTER,
    Structure,
    c_bool,
    c_char_p,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_void_p,
)

from llamabind._capi.annotations import c_struct, f32

# ggml.h


class ggml_abort_callback(CFuncPtr):
    """`(user_data) -> bool`: true aborts the computation."""

    _flags_ = FUNCFLAG_CDECL
    _restype_ = c_bool
    _argtypes_ = (c_void_p,)


class ggml_abort_callback_t(CFuncPtr):
    """`(error_message)`: called by GGML_ABORT before the process ends."""

    _flags_ = FUNCFLAG_CDECL
    _restype_ = None
    _argtypes_ = (c_char_p,)


class ggml_log_callback(CFuncPtr):
    """`(level, text, user_data)`: may be called from any native thread."""

    _flags_ = FUNCFLAG_CDECL
    _restype_ = None
    _argtypes_ = (c_int, c_char_p, c_void_p)


# ggml-backend.h


class ggml_backend_sched_eval_callback(CFuncPtr):
    """`(tensor, ask, user_data) -> bool`: observes the nodes of a graph."""

    _flags_ = FUNCFLAG_CDECL
    _restype_ = c_bool
    _argtypes_ = (c_void_p, c_bool, c_void_p)


# ggml-opt.h


@c_struct
class ggml_opt_optimizer_params_adamw(Structure):
    __slots__ = ()
    _c_type_ = "decltype(ggml_opt_optimizer_params::adamw)"
    alpha: f32
    beta1: f32
    beta2: f32
    eps: f32
    wd: f32


@c_struct
class ggml_opt_optimizer_params_sgd(Structure):
    __slots__ = ()
    _c_type_ = "decltype(ggml_opt_optimizer_params::sgd)"
    alpha: f32
    wd: f32


@c_struct
class ggml_opt_optimizer_params(Structure):
    __slots__ = ()
    adamw: ggml_opt_optimizer_params_adamw
    sgd: ggml_opt_optimizer_params_sgd


class ggml_opt_get_optimizer_params(CFuncPtr):
    """`(user_data) -> ggml_opt_optimizer_params`; ctypes can pass a native one on, not make one."""

    _flags_ = FUNCFLAG_CDECL
    _restype_ = ggml_opt_optimizer_params
    _argtypes_ = (c_void_p,)


class ggml_opt_epoch_callback(CFuncPtr):
    """`(train, opt_ctx, dataset, result, ibatch, ibatch_max, t_start_us)`: after an evaluation."""

    _flags_ = FUNCFLAG_CDECL
    _restype_ = None
    _argtypes_ = (c_bool, c_void_p, c_void_p, c_void_p, c_int64, c_int64, c_int64)


# llama.h


class llama_progress_callback(CFuncPtr):
    """`(progress, user_data) -> bool`: 0.0 to 1.0; false aborts the load."""

    _flags_ = FUNCFLAG_CDECL
    _restype_ = c_bool
    _argtypes_ = (c_float, c_void_p)


class llama_model_set_tensor_data_t(CFuncPtr):
    """`(tensor, user_data)`: fills a tensor of a model made without a file."""

    _flags_ = FUNCFLAG_CDECL
    _restype_ = None
    _argtypes_ = (c_void_p, c_void_p)


class llama_opt_param_filter(CFuncPtr):
    """`(tensor, user_data) -> bool`: which tensors are trained."""

    _flags_ = FUNCFLAG_CDECL
    _restype_ = c_bool
    _argtypes_ = (c_void_p, c_void_p)


# mtmd.h, mtmd-helper.h


class mtmd_progress_callback(CFuncPtr):
    """`(progress, user_data) -> bool`: 0.0 to 1.0; false aborts the load."""

    _flags_ = FUNCFLAG_CDECL
    _restype_ = c_bool
    _argtypes_ = (c_float, c_void_p)


class mtmd_bitmap_lazy_callback(CFuncPtr):
    """`(chunk_idx, user_data, out_bitmap, out_text) -> int`: 0 one more, -1 end, -2 error."""

    _flags_ = FUNCFLAG_CDECL
    _restype_ = c_int
    _argtypes_ = (c_size_t, c_void_p, POINTER(c_void_p), POINTER(c_char_p))


class mtmd_helper_post_decode_callback(CFuncPtr):
    """`(mtmd_helper_embd_batch, user_data) -> int32_t`: after each decoded sub-batch."""

    _flags_ = FUNCFLAG_CDECL
    _restype_ = c_int32
    _argtypes_ = (c_void_p, c_void_p)
