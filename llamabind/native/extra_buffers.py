"""Which of the CPU's buffer types for repacked weights a model may use.

ggml repacks weights for some instruction sets; each layout has its own buffer type and kernels.
AMX's kernels only multiply one matrix by one matrix, and do not check that: if the input has a
dimension for the sequences, as in layers with recurrent or convolutional state, they read past the
end of the weight from the second sequence on, and answers are wrong. Weights of three dimensions
and views of a weight give wrong results too. So before a model is loaded its graph is built
without allocating memory, and if the graph has such a product, that buffer type is hidden from the
loader.

Our own products (csrc/panel_products.cpp) read weights as they are in the file, and are faster than
ggml's kernels for its repacked ones. So a model whose types of weights they all multiply is not
repacked; it then loads faster, too.
"""

import ctypes
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from llamabind._capi import enums, ggml, llama, shim
from llamabind._capi.types import ContextHandle, ModelHandle
from llamabind.errors import GgufError
from llamabind.gguf.header import read_weight_types
from llamabind.native import backend, kernels
from llamabind.native.load_failure import shards
from llamabind.native.model_loading import ModelLoad
from llamabind.native.model_params import ModelParams

logger = logging.getLogger(__name__)

# Needed as long as ggml_backend_amx_mul_mat of the pinned llama.cpp does not broadcast the weight.
_MATRICES_ONLY: Final = frozenset({"AMX"})
_CACHED_ANSWERS: Final = 32
_REPACKED: Final = "CPU_REPACK"
# llama_ftype: files in which all types that ggml repacks have products of ours. Q4_0, Q4_1, Q8_0,
# Q5_0, Q5_1, Q4_K, Q5_K and Q6_K.
_MULTIPLIED: Final = frozenset({2, 3, 7, 8, 9, 14, 15, 16, 17, 18})

_List = ctypes.POINTER(ctypes.c_void_p)
_GetList = ctypes.CFUNCTYPE(_List, ctypes.c_void_p)  # ggml_backend_dev_get_extra_bufts_t

_answers: dict[tuple[object, ...], frozenset[str]] = {}


def names() -> tuple[str, ...]:
    """Return this build's buffer types for repacked weights on this CPU, such as ("AMX",)."""
    return tuple(name for name, _ in _visible.all())


def unfit_types(path: Path, params: ModelParams) -> frozenset[str]:
    """Return the buffer types that would give wrong answers with the model at `path`.

    If this build has candidates, reads header and vocabulary once for each file. Returns none for a
    file whose graph cannot be built: loading it raises the error.
    """
    candidates = _MATRICES_ONLY.intersection(names())
    if not candidates or params.use_extra_bufts is False or params.vocab_only:
        return frozenset()
    status = path.stat()
    layout = replace(params, no_alloc=True, load_mode="none", check_tensors=False)
    key = (str(path), status.st_mtime_ns, status.st_size, layout)
    if key not in _answers:
        while len(_answers) >= _CACHED_ANSWERS:
            _answers.pop(next(iter(_answers)), None)
        _answers[key] = _find_unfit(path, layout, candidates)
    return _answers[key]


def needless_types(path: Path, params: ModelParams) -> frozenset[str]:
    """Return the buffer types for which our own products are a faster choice.

    None if the caller asks for repacked weights, and for models with experts, whose products are
    ggml's.
    """
    if params.use_extra_bufts is not None or kernels.products_in_use() == "ggml":
        return frozenset()
    try:
        file_type, has_experts = read_weight_types(path)
    except GgufError:
        return frozenset()  # the load raises the error
    is_ours = file_type in _MULTIPLIED and not has_experts
    return frozenset({_REPACKED}).intersection(names()) if is_ours else frozenset()


@contextmanager
def hide_buffer_types(left_out: frozenset[str]) -> Iterator[None]:
    """Hide these buffer types from models that are loaded inside the `with` block."""
    with _visible.without(left_out):
        yield


def _find_unfit(path: Path, params: ModelParams, candidates: frozenset[str]) -> frozenset[str]:
    load = ModelLoad(params, None)
    with _visible.without(frozenset()):
        model = llama.llama_model_load_from_file(os.fsencode(shards(path)[0]), load.c_params)
    if not model:
        return frozenset()
    try:
        return _find_unfit_in(model, candidates)
    finally:
        llama.llama_model_free(model)


def _find_unfit_in(model: ModelHandle, candidates: frozenset[str]) -> frozenset[str]:
    c_params = llama.llama_context_default_params()
    c_params.n_ctx, c_params.n_batch, c_params.n_ubatch, c_params.n_seq_max = 512, 64, 64, 2
    context = llama.llama_init_from_model(model, c_params)
    if not context:
        return frozenset()
    try:
        return frozenset(name for name in candidates if _is_misused(context, name))
    finally:
        llama.llama_free(context)


def _is_misused(context: ContextHandle, name: str) -> bool:
    n_misused = ctypes.c_int32()
    status = shim.lb_count_misused_weights(context, name.encode(), ctypes.byref(n_misused))
    return status != shim.lb_status.LB_OK or n_misused.value > 0


class _VisibleTypes:
    """The list of buffer types that llama.cpp's loader reads.

    Its kernels use another list, so hiding a type does not affect models already loaded.
    """

    def __init__(self) -> None:
        self._all: tuple[tuple[str, int], ...] | None = None
        self._list: ctypes._Pointer[ctypes.c_void_p] | None = None
        self._left_out: frozenset[str] = frozenset()
        self._n_loads = 0
        self._condition = threading.Condition()

    def all(self) -> tuple[tuple[str, int], ...]:
        """Return name and handle of each buffer type."""
        backend.init()
        with self._condition:
            if self._all is None:
                self._list = _extra_buffer_list()
                self._all = tuple(_read(self._list))
            return self._all

    @contextmanager
    def without(self, left_out: frozenset[str]) -> Iterator[None]:
        """Hide these types inside the `with` block; waits for loads that hide other ones."""
        everything = self.all()
        with self._condition:
            self._condition.wait_for(lambda: self._n_loads == 0 or self._left_out == left_out)
            if self._left_out != left_out:
                self._left_out = left_out
                kept = [handle for name, handle in everything if name not in left_out]
                self._write([*kept, *[None] * (len(everything) - len(kept))])
            self._n_loads += 1
        try:
            yield
        finally:
            with self._condition:
                self._n_loads -= 1
                self._condition.notify_all()

    def _write(self, handles: list[int | None]) -> None:
        assert self._list is not None, "a build without such types has none to hide"
        for index, handle in enumerate(handles):
            self._list[index] = ctypes.c_void_p(handle)


_visible = _VisibleTypes()


def _extra_buffer_list() -> "ctypes._Pointer[ctypes.c_void_p] | None":
    device = ggml.ggml_backend_dev_by_type(enums.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU)
    registry = ggml.ggml_backend_dev_backend_reg(device) if device else None
    if not registry:
        return None
    address = ggml.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_dev_get_extra_bufts")
    return _GetList(address)(device) if address else None


def _read(handles: "ctypes._Pointer[ctypes.c_void_p] | None") -> Iterator[tuple[str, int]]:
    """Yield name and handle of the entries before the NULL that ends the list."""
    index = 0
    while handles and (handle := handles[index]):
        yield ggml.ggml_backend_buft_name(handle).decode(), handle
        index += 1
