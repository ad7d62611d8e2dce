"""Which of the CPU's buffer types for repacked weights a model may use.

ggml lays weights out anew for some instruction sets; each layout has a buffer type and kernels of
its own. AMX's kernels multiply one matrix with one matrix, and do not check it: where the input has
a dimension for the sequences, as in layers with recurrent or convolutional state, they read past
the weight's end from the second sequence on, and answers are wrong. Weights of three dimensions and
parts of a weight go wrong too. So a model's graph is laid out without memory before it is loaded,
and where it has such a product the loader is not offered that buffer type.
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
from llamabind.native import backend
from llamabind.native.load_failure import shards
from llamabind.native.model_loading import ModelLoad
from llamabind.native.model_params import ModelParams

logger = logging.getLogger(__name__)

# Until the pinned llama.cpp's ggml_backend_amx_mul_mat broadcasts its weight.
_MATRICES_ONLY: Final = frozenset({"AMX"})
_CACHED_ANSWERS: Final = 32

_List = ctypes.POINTER(ctypes.c_void_p)
_GetList = ctypes.CFUNCTYPE(_List, ctypes.c_void_p)  # ggml_backend_dev_get_extra_bufts_t

_answers: dict[tuple[object, ...], frozenset[str]] = {}


def names() -> tuple[str, ...]:
    """The buffer types for repacked weights that this build has on this CPU, such as ("AMX",)."""
    return tuple(name for name, _ in _offer.all())


def unfit_types(path: Path, params: ModelParams) -> frozenset[str]:
    """The buffer types that would give wrong answers with the model of `path`.

    Reads the header and the vocabulary, once for each file; only where there is such a type. A file
    that cannot be laid out has none: loading it says what is wrong.
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


@contextmanager
def offered_without(left_out: frozenset[str]) -> Iterator[None]:
    """Have models that are loaded meanwhile use none of these buffer types."""
    with _offer.without(left_out):
        yield


def _find_unfit(path: Path, params: ModelParams, candidates: frozenset[str]) -> frozenset[str]:
    load = ModelLoad(params, None)
    with _offer.without(frozenset()):
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


class _Offer:
    """The list of buffer types that llama.cpp's loader reads; its kernels go by another one.

    So a shorter list changes nothing for models that are loaded already.
    """

    def __init__(self) -> None:
        self._all: tuple[tuple[str, int], ...] | None = None
        self._list: ctypes._Pointer[ctypes.c_void_p] | None = None
        self._left_out: frozenset[str] = frozenset()
        self._n_loads = 0
        self._condition = threading.Condition()

    def all(self) -> tuple[tuple[str, int], ...]:
        """Name and handle of each buffer type."""
        backend.init()
        with self._condition:
            if self._all is None:
                self._list = _extra_buffer_list()
                self._all = tuple(_read(self._list))
            return self._all

    @contextmanager
    def without(self, left_out: frozenset[str]) -> Iterator[None]:
        """Offer all others while this runs. Loads with another choice wait; equal ones do not."""
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
        assert self._list is not None, "a build without such types has nothing to leave out"
        for index, handle in enumerate(handles):
            self._list[index] = ctypes.c_void_p(handle)


_offer = _Offer()


def _extra_buffer_list() -> "ctypes._Pointer[ctypes.c_void_p] | None":
    device = ggml.ggml_backend_dev_by_type(enums.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU)
    registry = ggml.ggml_backend_dev_backend_reg(device) if device else None
    if not registry:
        return None
    address = ggml.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_dev_get_extra_bufts")
    return _GetList(address)(device) if address else None


def _read(handles: "ctypes._Pointer[ctypes.c_void_p] | None") -> Iterator[tuple[str, int]]:
    """The entries up to the one that ends the list."""
    index = 0
    while handles and (handle := handles[index]):
        yield ggml.ggml_backend_buft_name(handle).decode(), handle
        index += 1
