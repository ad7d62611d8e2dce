"""ggml-rpc.h: devices of other machines, and the server that lends this machine's devices.

The library is missing in builds with GGML_RPC=OFF; a call then raises SymbolMissingError.
"""

# mypy: disable-error-code="empty-body"

from ctypes import c_size_t, c_void_p
from typing import Annotated

from llamabind._capi.annotations import Ptr, size_t, u32
from llamabind._capi.handles import BackendPtr, BackendRegPtr, BufferTypePtr
from llamabind._capi.loader import c_function


@c_function("ggml-rpc")
def ggml_backend_rpc_init(endpoint: bytes, device: u32) -> BackendPtr: ...


@c_function("ggml-rpc")
def ggml_backend_is_rpc(backend: BackendPtr) -> bool: ...


@c_function("ggml-rpc")
def ggml_backend_rpc_buffer_type(endpoint: bytes, device: u32) -> BufferTypePtr: ...


@c_function("ggml-rpc")
def ggml_backend_rpc_get_device_memory(
    endpoint: bytes, device: u32, free: Ptr[c_size_t], total: Ptr[c_size_t]
) -> None: ...


@c_function("ggml-rpc")
def ggml_backend_rpc_start_server(
    endpoint: bytes,
    cache_dir: bytes | None,
    n_threads: size_t,
    n_devices: size_t,
    devices: Annotated[Ptr[c_void_p], "ptr<ggml_backend_device>"],
) -> None: ...


@c_function("ggml-rpc")
def ggml_backend_rpc_reg() -> BackendRegPtr: ...


@c_function("ggml-rpc")
def ggml_backend_rpc_add_server(endpoint: bytes) -> BackendRegPtr | None: ...
