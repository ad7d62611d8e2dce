"""The structs used of ggml.h, ggml-backend.h and gguf.h."""

import ctypes
from _ctypes import FUNCFLAG_CDECL, CFuncPtr
from ctypes import Structure, c_bool, c_void_p
from typing import Annotated

from llamabind._capi.annotations import Pointer, c_int, c_struct, size_t, u32
from llamabind._capi.constants import GGML_MAX_N_THREADS
from llamabind._capi.enums import ggml_backend_dev_type, ggml_sched_priority


@c_struct
class ggml_threadpool_params(Structure):
    """Fill with ggml_threadpool_params_default(n_threads), then set fields."""

    __slots__ = ()
    cpumask: Annotated[ctypes.Array[c_bool], c_bool * GGML_MAX_N_THREADS]
    n_threads: c_int
    prio: Annotated[int, ggml_sched_priority]
    poll: u32
    strict_cpu: bool
    paused: bool


@c_struct
class ggml_backend_dev_caps(Structure):
    __slots__ = ()
    async_: bool
    host_buffer: bool
    buffer_from_host_ptr: bool
    events: bool
    mmap_support: bool


@c_struct
class ggml_backend_dev_props(Structure):
    """Filled by ggml_backend_dev_get_props; memory in bytes."""

    __slots__ = ()
    name: bytes | None
    description: bytes | None
    memory_free: size_t
    memory_total: size_t
    type: Annotated[int, ggml_backend_dev_type]
    device_id: bytes | None
    caps: ggml_backend_dev_caps


@c_struct
class ggml_backend_feature(Structure):
    __slots__ = ()
    name: bytes | None
    value: bytes | None


class ggml_backend_get_features_t(CFuncPtr):
    """`(reg) -> features`, ended by one without a name; see ggml_backend_reg_get_proc_address."""

    _flags_ = FUNCFLAG_CDECL
    _restype_ = ctypes.POINTER(ggml_backend_feature)
    _argtypes_ = (c_void_p,)


@c_struct
class gguf_init_params(Structure):
    __slots__ = ()
    no_alloc: bool
    ctx: Annotated[Pointer[c_void_p], "ptr<ggml_context>"]
