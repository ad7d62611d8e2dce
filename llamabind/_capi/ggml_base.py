"""The used parts of ggml.h and ggml-cpu.h: versions, tensor types, the log, CPU thread pools."""

# mypy: disable-error-code="empty-body"

from ctypes import c_void_p

from llamabind._capi.annotations import Ptr, VoidPtr, c_int, i64, size_t
from llamabind._capi.callbacks import ggml_abort_callback_t, ggml_log_callback
from llamabind._capi.enums import ggml_status, ggml_type
from llamabind._capi.ggml_structs import ggml_threadpool_params
from llamabind._capi.handles import ThreadpoolPtr
from llamabind._capi.loader import c_function


@c_function("ggml-base")
def ggml_set_abort_callback(
    callback: ggml_abort_callback_t | None,
) -> ggml_abort_callback_t | None: ...


@c_function("ggml-base")
def ggml_status_to_string(status: ggml_status) -> bytes: ...


@c_function("ggml-base")
def ggml_version() -> bytes: ...


@c_function("ggml-base")
def ggml_commit() -> bytes: ...


@c_function("ggml-base")
def ggml_time_us() -> i64: ...


@c_function("ggml-base")
def ggml_blck_size(type: ggml_type) -> i64: ...


@c_function("ggml-base")
def ggml_type_size(type: ggml_type) -> size_t: ...


@c_function("ggml-base")
def ggml_row_size(type: ggml_type, ne: i64) -> size_t: ...


@c_function("ggml-base")
def ggml_type_name(type: ggml_type) -> bytes: ...


@c_function("ggml-base")
def ggml_is_quantized(type: ggml_type) -> bool: ...


@c_function("ggml-base")
def ggml_validate_row_data(type: ggml_type, data: VoidPtr, nbytes: size_t) -> bool: ...


@c_function("ggml-base")
def ggml_log_get(log_callback: Ptr[ggml_log_callback], user_data: Ptr[c_void_p]) -> None: ...


@c_function("ggml-base")
def ggml_log_set(log_callback: ggml_log_callback | None, user_data: VoidPtr) -> None: ...


@c_function("ggml-base")
def ggml_threadpool_params_default(n_threads: c_int) -> ggml_threadpool_params: ...


@c_function("ggml-base")
def ggml_threadpool_params_init(p: Ptr[ggml_threadpool_params], n_threads: c_int) -> None: ...


@c_function("ggml-base")
def ggml_threadpool_params_match(
    p0: Ptr[ggml_threadpool_params], p1: Ptr[ggml_threadpool_params]
) -> bool: ...


# Functions that only a CPU backend built as a module exports: see loader.find_symbol.
@c_function("ggml-cpu")
def ggml_threadpool_new(params: Ptr[ggml_threadpool_params]) -> ThreadpoolPtr | None: ...


@c_function("ggml-cpu")
def ggml_threadpool_free(threadpool: ThreadpoolPtr) -> None: ...
