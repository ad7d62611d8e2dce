"""ModelLoad: ModelParams as llama.cpp's struct; keeps everything alive that it points to."""

import ctypes
from collections.abc import Callable
from typing import Final

from llamabind._capi import enums, llama, types
from llamabind.errors import InvalidParameterError
from llamabind.native import backend
from llamabind.native.model_params import ModelParams, OverrideValue

_SPLIT_MODES: Final = {
    "none": enums.llama_split_mode.LLAMA_SPLIT_MODE_NONE,
    "layer": enums.llama_split_mode.LLAMA_SPLIT_MODE_LAYER,
    "row": enums.llama_split_mode.LLAMA_SPLIT_MODE_ROW,
    "tensor": enums.llama_split_mode.LLAMA_SPLIT_MODE_TENSOR,
}
_LOAD_MODES: Final = {
    "auto": enums.llama_load_mode.LLAMA_LOAD_MODE_AUTO,
    "none": enums.llama_load_mode.LLAMA_LOAD_MODE_NONE,
    "mmap": enums.llama_load_mode.LLAMA_LOAD_MODE_MMAP,
    "mlock": enums.llama_load_mode.LLAMA_LOAD_MODE_MLOCK,
    "mmap+mlock": enums.llama_load_mode.LLAMA_LOAD_MODE_MMAP_MLOCK,
    "dio": enums.llama_load_mode.LLAMA_LOAD_MODE_DIRECT_IO,
}


class ModelLoad:
    """The C side of one load; keep it until llama_model_load_from_file has returned.

    `error` is what the progress callback raised, `is_cancelled` whether it returned False.
    """

    def __init__(self, params: ModelParams, progress: Callable[[float], bool] | None) -> None:
        self.error: BaseException | None = None
        self.is_cancelled = False
        self._progress = progress
        self._callback = types.llama_progress_callback(self._on_progress)
        self._devices = _device_list(params.devices)
        self._tensor_split = _tensor_split(params.tensor_split)
        self._overrides = _override_list(params.kv_overrides)
        self._tensor_buffers = _buffer_list(params.tensor_buffers)
        self.c_params = self._c_params(params)

    def _c_params(self, params: ModelParams) -> types.llama_model_params:
        c_params = llama.llama_model_default_params()
        if params.n_gpu_layers is not None:
            c_params.n_gpu_layers = params.n_gpu_layers
        c_params.split_mode = _SPLIT_MODES[params.split_mode]
        c_params.load_mode = _LOAD_MODES[params.load_mode]
        c_params.main_gpu = params.main_gpu
        for name in ("vocab_only", "check_tensors", "no_host", "no_alloc", "load_mtp"):
            setattr(c_params, name, getattr(params, name))
        c_params.use_extra_bufts = params.use_extra_bufts is not False
        c_params.progress_callback = self._callback
        if self._devices is not None:
            c_params.devices = ctypes.cast(self._devices, ctypes.POINTER(ctypes.c_void_p))
        if self._tensor_split is not None:
            c_params.tensor_split = ctypes.cast(self._tensor_split, ctypes.POINTER(ctypes.c_float))
        if self._tensor_buffers is not None:
            c_params.tensor_buft_overrides = ctypes.cast(
                self._tensor_buffers, ctypes.POINTER(types.llama_model_tensor_buft_override)
            )
        if self._overrides is not None:
            c_params.kv_overrides = ctypes.cast(
                self._overrides, ctypes.POINTER(types.llama_model_kv_override)
            )
        return c_params

    def _on_progress(self, progress: float, _user_data: int | None) -> bool:
        if self._progress is None:
            return True
        try:
            self.is_cancelled = not self._progress(progress)
        except BaseException as error:  # noqa: BLE001 - must not pass through C; Model raises it
            self.error = error
            self.is_cancelled = True
        return not self.is_cancelled


def _device_list(names: tuple[str, ...] | None) -> "ctypes.Array[ctypes.c_void_p] | None":
    if names is None:
        return None
    handles = []
    for name in names:
        handle = backend.device_handle(name)
        if handle is None:
            known = ", ".join(device.name for device in backend.devices())
            raise InvalidParameterError("devices", f"unknown device {name!r}; available: {known}")
        handles.append(handle)
    return (ctypes.c_void_p * (len(handles) + 1))(*handles, None)


def _tensor_split(shares: tuple[float, ...]) -> "ctypes.Array[ctypes.c_float] | None":
    if not shares:
        return None
    # The array must have llama_max_devices() entries (llama.h).
    return (ctypes.c_float * llama.llama_max_devices())(*shares)


def _buffer_list(
    buffers: tuple[tuple[str, str], ...],
) -> "ctypes.Array[types.llama_model_tensor_buft_override] | None":
    if not buffers:
        return None
    known = backend.buffer_types()
    # An empty pattern ends the list (llama.h).
    entries = (types.llama_model_tensor_buft_override * (len(buffers) + 1))()
    for entry, (pattern, name) in zip(entries, buffers, strict=False):
        if name not in known:
            raise InvalidParameterError(
                "tensor_buffers", f"unknown buffer type {name!r}; available: {', '.join(known)}"
            )
        entry.pattern, entry.buft = pattern.encode(), known[name]
    return entries


def _override_list(
    overrides: tuple[tuple[str, OverrideValue], ...],
) -> "ctypes.Array[types.llama_model_kv_override] | None":
    if not overrides:
        return None
    # An empty key ends the list (llama.h).
    entries = (types.llama_model_kv_override * (len(overrides) + 1))()
    for entry, (key, value) in zip(entries, overrides, strict=False):
        entry.key = key.encode()
        _set_value(entry, value)
    return entries


def _set_value(entry: types.llama_model_kv_override, value: OverrideValue) -> None:
    tags = enums.llama_model_kv_override_type
    if isinstance(value, bool):
        entry.tag, entry.val_bool = tags.LLAMA_KV_OVERRIDE_TYPE_BOOL, value
    elif isinstance(value, int):
        entry.tag, entry.val_i64 = tags.LLAMA_KV_OVERRIDE_TYPE_INT, value
    elif isinstance(value, float):
        entry.tag, entry.val_f64 = tags.LLAMA_KV_OVERRIDE_TYPE_FLOAT, value
    else:
        entry.tag, entry.val_str = tags.LLAMA_KV_OVERRIDE_TYPE_STR, value.encode()
