"""llama.cpp's backends: starts them once, lists devices, buffer types and CPU features."""

import ctypes
import threading
from dataclasses import dataclass
from typing import Final

from llamabind._capi import ggml, llama, shim, types
from llamabind._capi.loader import library_directory, load_backend_modules
from llamabind.errors import LibraryError
from llamabind.native import log

_lock = threading.Lock()
_ready: list[bool] = []

_DEVICE_KINDS: Final = {0: "cpu", 1: "gpu", 2: "igpu", 3: "accelerator", 4: "meta"}


@dataclass(frozen=True, slots=True)
class Device:
    """A device; `kind` is cpu, gpu, igpu, accelerator or meta, memory is in bytes."""

    name: str
    description: str
    kind: str
    backend: str
    memory_total: int
    memory_free: int


class _Feature(ctypes.Structure):
    """One entry of the list that ggml_backend_get_features returns (ggml-backend.h)."""

    _fields_ = (("name", ctypes.c_char_p), ("value", ctypes.c_char_p))


_GetFeatures = ctypes.CFUNCTYPE(ctypes.POINTER(_Feature), ctypes.c_void_p)


def init() -> None:
    """Start log capture and llama.cpp's backends. Any thread; later calls do nothing."""
    with _lock:
        if _ready:
            return
        log.install()
        load_backend_modules()
        llama.llama_backend_init()
        if ggml.ggml_backend_dev_count() == 0:
            raise LibraryError(f"no ggml backend could be loaded from {library_directory()}")
        _ready.append(True)


def devices() -> tuple[Device, ...]:
    """Return all devices, with their current free memory."""
    init()
    count = ggml.ggml_backend_dev_count()
    return tuple(_describe(_device_handle(index)) for index in range(count))


def build_name() -> str:
    """Return llama.cpp's build number and commit, such as "b11312-0c1e57098"."""
    return f"b{shim.lb_build_number()}-{shim.lb_llama_commit().decode()[:9]}"


def has_gpu() -> bool:
    """Return whether a GPU is available, on this machine or over RPC.

    llama_supports_gpu_offload is also true without a GPU in a build with the RPC backend.
    """
    init()
    handles = (_device_handle(index) for index in range(ggml.ggml_backend_dev_count()))
    return any(_kind(handle) in ("gpu", "igpu") for handle in handles)


def device_handle(name: str) -> types.DeviceHandle | None:
    """Return the native device of that name, or None."""
    init()
    return ggml.ggml_backend_dev_by_name(name.encode()) or None


def buffer_types() -> dict[str, types.BufferTypeHandle]:
    """Return the devices' buffer types by name, such as {"CPU": …, "CUDA0": …}."""
    init()
    found = {}
    for index in range(ggml.ggml_backend_dev_count()):
        handle = ggml.ggml_backend_dev_buffer_type(_device_handle(index))
        found[_text(ggml.ggml_backend_buft_name(handle))] = handle
    return found


def backends() -> tuple[str, ...]:
    """Return the names of the loaded backends, such as ("CPU",) or ("CUDA", "CPU")."""
    init()
    count = ggml.ggml_backend_reg_count()
    names = (ggml.ggml_backend_reg_name(_backend_handle(index)) for index in range(count))
    return tuple(_text(name) for name in names)


def has_backend(name: str) -> bool:
    """Return whether a backend of that name is loaded."""
    init()
    return ggml.ggml_backend_reg_by_name(name.encode()) is not None


def features() -> dict[str, dict[str, str]]:
    """Return the features each backend was built with or detected, as {"CPU": {"AVX2": "1"}}."""
    init()
    found = {}
    for index in range(ggml.ggml_backend_reg_count()):
        handle = _backend_handle(index)
        address = ggml.ggml_backend_reg_get_proc_address(handle, b"ggml_backend_get_features")
        if address:
            name = _text(ggml.ggml_backend_reg_name(handle))
            found[name] = _read_features(_GetFeatures(address)(handle))
    return found


def _read_features(entries: "ctypes._Pointer[_Feature]") -> dict[str, str]:
    listed = {}
    index = 0
    while entries[index].name:
        listed[_text(entries[index].name)] = _text(entries[index].value)
        index += 1
    return listed


def _describe(device: types.DeviceHandle) -> Device:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    ggml.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
    backend = ggml.ggml_backend_dev_backend_reg(device)
    return Device(
        name=_text(ggml.ggml_backend_dev_name(device)),
        description=_text(ggml.ggml_backend_dev_description(device)).strip(),
        kind=_kind(device),
        backend=_text(ggml.ggml_backend_reg_name(backend)) if backend else "",
        memory_total=total.value,
        memory_free=free.value,
    )


def _kind(device: types.DeviceHandle) -> str:
    return _DEVICE_KINDS.get(int(ggml.ggml_backend_dev_type(device)), "unknown")


def _device_handle(index: int) -> types.DeviceHandle:
    handle = ggml.ggml_backend_dev_get(index)
    assert handle, "the index is below ggml_backend_dev_count"
    return handle


def _backend_handle(index: int) -> types.BackendRegHandle:
    handle = ggml.ggml_backend_reg_get(index)
    assert handle, "the index is below ggml_backend_reg_count"
    return handle


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode(errors="replace")
