"""The used part of ggml-backend.h: buffer types, devices, and the registry of backends."""

# mypy: disable-error-code="empty-body"

from ctypes import c_size_t

from llamabind._capi import enums
from llamabind._capi.annotations import Address, Ptr, size_t
from llamabind._capi.ggml_structs import ggml_backend_dev_props
from llamabind._capi.handles import BackendRegPtr, BufferTypePtr, DevicePtr
from llamabind._capi.loader import c_function


@c_function("ggml-base")
def ggml_backend_buft_name(buft: BufferTypePtr) -> bytes: ...


@c_function("ggml-base")
def ggml_backend_buft_is_host(buft: BufferTypePtr) -> bool: ...


@c_function("ggml-base")
def ggml_backend_dev_name(device: DevicePtr) -> bytes: ...


@c_function("ggml-base")
def ggml_backend_dev_description(device: DevicePtr) -> bytes: ...


@c_function("ggml-base")
def ggml_backend_dev_memory(
    device: DevicePtr, free: Ptr[c_size_t], total: Ptr[c_size_t]
) -> None: ...


@c_function("ggml-base")
def ggml_backend_dev_type(device: DevicePtr) -> enums.ggml_backend_dev_type: ...


@c_function("ggml-base")
def ggml_backend_dev_get_props(device: DevicePtr, props: Ptr[ggml_backend_dev_props]) -> None: ...


@c_function("ggml-base")
def ggml_backend_dev_backend_reg(device: DevicePtr) -> BackendRegPtr | None: ...


@c_function("ggml-base")
def ggml_backend_dev_buffer_type(device: DevicePtr) -> BufferTypePtr: ...


@c_function("ggml-base")
def ggml_backend_dev_host_buffer_type(device: DevicePtr) -> BufferTypePtr | None: ...


@c_function("ggml-base")
def ggml_backend_reg_name(reg: BackendRegPtr) -> bytes: ...


@c_function("ggml-base")
def ggml_backend_reg_dev_count(reg: BackendRegPtr) -> size_t: ...


@c_function("ggml-base")
def ggml_backend_reg_dev_get(reg: BackendRegPtr, index: size_t) -> DevicePtr: ...


@c_function("ggml-base")
def ggml_backend_reg_get_proc_address(reg: BackendRegPtr, name: bytes) -> Address | None: ...


@c_function("ggml")
def ggml_backend_reg_count() -> size_t: ...


@c_function("ggml")
def ggml_backend_reg_get(index: size_t) -> BackendRegPtr: ...


@c_function("ggml")
def ggml_backend_reg_by_name(name: bytes) -> BackendRegPtr | None: ...


@c_function("ggml")
def ggml_backend_dev_count() -> size_t: ...


@c_function("ggml")
def ggml_backend_dev_get(index: size_t) -> DevicePtr: ...


@c_function("ggml")
def ggml_backend_dev_by_name(name: bytes) -> DevicePtr | None: ...


@c_function("ggml")
def ggml_backend_dev_by_type(type: enums.ggml_backend_dev_type) -> DevicePtr | None: ...


@c_function("ggml")
def ggml_backend_register(reg: BackendRegPtr) -> None: ...


@c_function("ggml")
def ggml_backend_load(path: bytes) -> BackendRegPtr | None: ...


@c_function("ggml")
def ggml_backend_unload(reg: BackendRegPtr) -> None: ...


@c_function("ggml")
def ggml_backend_load_all() -> None: ...


@c_function("ggml")
def ggml_backend_load_all_from_path(dir_path: bytes) -> None: ...


@c_function("ggml-base")
def ggml_backend_cpu_buffer_type() -> BufferTypePtr: ...
