"""fit_devices: how many layers go onto each GPU if the whole model does not fit."""

import ctypes
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from llamabind._capi import ggml, llama, shim, types
from llamabind._capi.shim_text import last_error
from llamabind.context.creation import c_context_params
from llamabind.context.params import ContextParams
from llamabind.errors import ModelLoadError
from llamabind.native.load_failure import shards
from llamabind.native.model_loading import ModelLoad
from llamabind.native.model_params import ModelParams

# Bytes that stay free on each device by default, as with llama-server's --fit-target.
FIT_MARGIN: Final = 1 << 30


def fit_devices(
    path: str | os.PathLike[str],
    model_params: ModelParams,
    context_params: ContextParams,
    margins: Sequence[int] = (),
) -> ModelParams:
    """Return `model_params` with as many layers on the devices as fit their free memory.

    `margins` are the bytes to keep free on each of the model's devices, in the order of its
    MemoryReport; missing ones are FIT_MARGIN (common_fit_params of llama.cpp; host memory counts as
    unlimited). Only for parameters that do not fix the placement: no n_gpu_layers, tensor_split or
    tensor_buffers, and split mode "none" or "layer". Raises ModelLoadError with the reason
    out_of_memory if nothing fits.
    """
    load = ModelLoad(model_params, None)
    n_devices = llama.llama_max_devices()
    shares = (ctypes.c_float * n_devices)()
    overrides = (types.llama_model_tensor_buft_override * llama.llama_max_tensor_buft_overrides())()
    c_context = c_context_params(context_params)
    file = os.fsencode(shards(Path(path))[0])
    left = [*margins[:n_devices], *([FIT_MARGIN] * (n_devices - len(margins)))]
    status = shim.lb_fit_params(
        file,
        ctypes.byref(load.c_params),
        ctypes.byref(c_context),
        shares,
        overrides,
        (ctypes.c_size_t * max(1, n_devices))(*left),
        0,
    )
    if status != shim.lb_status.LB_OK:
        raise ModelLoadError("out_of_memory", last_error())
    n_layers = load.c_params.n_gpu_layers
    return replace(
        model_params,
        n_gpu_layers=None if n_layers < 0 else n_layers,
        tensor_split=tuple(shares) if any(shares) else (),
        tensor_buffers=_names(overrides),
    )


def _names(
    overrides: Iterable[types.llama_model_tensor_buft_override],
) -> tuple[tuple[str, str], ...]:
    """Return (pattern, buffer type name) of each override before the empty one that ends them."""
    named = []
    for override in overrides:
        if override.pattern is None or override.buft is None:
            break
        buffer_type = types.BufferTypeHandle(override.buft)
        named.append((override.pattern.decode(), ggml.ggml_backend_buft_name(buffer_type).decode()))
    return tuple(named)
