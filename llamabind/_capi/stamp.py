"""Refuses native libraries of another llama.cpp version than these bindings describe.

A struct that differs by one field raises no error in C; it causes a crash or wrong parameters. So
versions, commits and sizes of the main structs are compared once, before the first call.
LLAMABIND_SKIP_STAMP=1 skips this, for your own build with the same header.
"""

import ctypes
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llamabind._capi.llama_structs import (
    llama_batch,
    llama_context_params,
    llama_logit_bias,
    llama_model_params,
    llama_model_quantize_params,
    llama_sampler_chain_params,
    llama_token_data,
    llama_token_data_array,
)
from llamabind._capi.mtmd_structs import mtmd_context_params
from llamabind.errors import LibraryMismatchError

# The llama.cpp that the declarations describe; the same pin as vendor/llama.cpp.json.
LLAMA_CPP_COMMIT = "0c1e57098bba43ac29e6e3b677cdceebdd22334f"
LLAMA_CPP_BUILD_NUMBER = 11312
LLAMA_VERSION = "0.5.0-dev"
GGML_VERSION = "0.25.3"

# Passed or returned by value: if one is larger in C, C writes or reads past ctypes' memory.
MAIN_STRUCTS: dict[str, type[ctypes.Structure]] = {
    struct.__name__: struct
    for struct in (
        llama_model_params,
        llama_context_params,
        llama_sampler_chain_params,
        llama_model_quantize_params,
        llama_batch,
        llama_token_data,
        llama_token_data_array,
        llama_logit_bias,
        mtmd_context_params,
    )
}

# Opens a library by its short name; None if the installation has no such file.
OpenLibrary = Callable[[str], ctypes.CDLL | None]


@dataclass(frozen=True, slots=True)
class Stamp:
    """Versions, commits and struct sizes that the libraries report; None if not reported.

    Without the shim (`has_shim` False) there are no sizes; 0 means a struct unknown to the shim.
    """

    ggml_version: str | None
    ggml_commit: str | None
    llama_version: str | None
    has_shim: bool
    shim_commit: str | None
    struct_sizes: Mapping[str, int]


def check_stamp(open_library: OpenLibrary) -> None:
    """Raises LibraryMismatchError when a library contradicts the bindings."""
    if os.environ.get("LLAMABIND_SKIP_STAMP") == "1":
        return
    problems = list(contradictions(read_stamp(open_library)))
    if problems:
        raise LibraryMismatchError(
            f"the native libraries do not fit these bindings, which describe llama.cpp "
            f"b{LLAMA_CPP_BUILD_NUMBER} ({LLAMA_CPP_COMMIT[:9]}): {', '.join(problems)}; "
            "reinstall llamabind, or unset LLAMABIND_LIB_DIR if it names another build "
            "(LLAMABIND_SKIP_STAMP=1 skips this check at your own risk)"
        )


def read_stamp(open_library: OpenLibrary) -> Stamp:
    """Reads the stamp with functions whose signature has never changed."""
    ggml, llama = open_library("ggml-base"), open_library("llama")
    shim = open_library("llamabind")
    size_of = _function(shim, "lb_struct_size", ctypes.c_size_t, [ctypes.c_char_p])
    return Stamp(
        ggml_version=_text(ggml, "ggml_version"),
        ggml_commit=_text(ggml, "ggml_commit"),
        llama_version=_text(llama, "llama_version"),
        has_shim=shim is not None,
        shim_commit=_text(shim, "lb_llama_commit"),
        struct_sizes={name: size_of(name.encode()) for name in MAIN_STRUCTS} if size_of else {},
    )


def contradictions(stamp: Stamp) -> Iterator[str]:
    """Yield a clause for each value of `stamp` that does not fit the bindings."""
    yield from _compare_version("libggml", stamp.ggml_version, GGML_VERSION)
    yield from _compare_version("libllama", stamp.llama_version, LLAMA_VERSION)
    yield from _compare_commit("libggml", stamp.ggml_commit)
    yield from _compare_commit("libllamabind", stamp.shim_commit)
    if stamp.has_shim and not stamp.struct_sizes:
        yield "libllamabind does not report the sizes of structs"
    for name, size in stamp.struct_sizes.items():
        declared = ctypes.sizeof(MAIN_STRUCTS[name])
        if size not in (0, declared):
            yield f"struct {name} has {size} bytes, but {declared} are declared"


def _compare_version(library: str, found: str | None, expected: str) -> Iterator[str]:
    if found != expected:
        yield f"{library} reports version {found or 'nothing'}, expected {expected}"


def _compare_commit(library: str, found: str | None) -> Iterator[str]:
    # A build without git has no commit, one from a modified work tree adds "-dirty".
    commit = (found or "").removesuffix("-dirty")
    if commit not in ("", "unknown") and not LLAMA_CPP_COMMIT.startswith(commit):
        yield f"{library} is built from commit {commit}"


def _text(library: ctypes.CDLL | None, name: str) -> str | None:
    function = _function(library, name, ctypes.c_char_p, [])
    value = function() if function else None
    return None if value is None else str(value.decode("utf-8", "replace"))


def _function(library: ctypes.CDLL | None, name: str, restype: Any, argtypes: list[Any]) -> Any:
    # Setting restype on library.name would affect other users, so this makes its own prototype.
    try:
        return library and ctypes.CFUNCTYPE(restype, *argtypes)((name, library))
    except AttributeError:
        return None
