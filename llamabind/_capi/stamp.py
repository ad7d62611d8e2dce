"""Refuses native libraries of another llama.cpp than these bindings describe.

A struct that differs by one field is no error in C, it is a crash or a wrong parameter. So the
libraries are asked once, before the first call: versions, commits, sizes of the main structs.
LLAMABIND_SKIP_STAMP=1 skips this, for those who know that their own build has the same header.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from typing import Any

from llamabind._capi.annotations import STRUCTS
from llamabind.errors import LibraryMismatchError

# The llama.cpp that the declarations describe; the same pin as vendor/llama.cpp.json.
LLAMA_CPP_COMMIT = "0c1e57098bba43ac29e6e3b677cdceebdd22334f"
LLAMA_CPP_BUILD_NUMBER = 11312
LLAMA_VERSION = "0.5.0-dev"
GGML_VERSION = "0.25.3"

# Passed or returned by value: C writes or reads past ctypes' memory when one of them has grown.
MAIN_STRUCTS = (
    "llama_model_params",
    "llama_context_params",
    "llama_sampler_chain_params",
    "llama_model_quantize_params",
    "llama_batch",
    "llama_token_data",
    "llama_token_data_array",
    "llama_logit_bias",
    "mtmd_context_params",
    "ggml_threadpool_params",
)

# Opens a library by its short name; None where the installation has no such file.
OpenLibrary = Callable[[str], ctypes.CDLL | None]


def check_stamp(open_library: OpenLibrary) -> None:
    """Raises LibraryMismatchError when a library contradicts the bindings."""
    if os.environ.get("LLAMABIND_SKIP_STAMP") == "1":
        return
    problems = list(_problems(open_library))
    if problems:
        raise LibraryMismatchError(
            f"the native libraries do not fit these bindings, which describe llama.cpp "
            f"b{LLAMA_CPP_BUILD_NUMBER} ({LLAMA_CPP_COMMIT[:9]}): {'; '.join(problems)}. "
            "reinstall llamabind, or unset LLAMABIND_LIB_DIR if it names another build "
            "(LLAMABIND_SKIP_STAMP=1 skips this check at your own risk)"
        )


def _problems(open_library: OpenLibrary) -> Iterator[str]:
    ggml, llama = open_library("ggml-base"), open_library("llama")
    yield from _compare_version("libggml", _text(ggml, "ggml_version"), GGML_VERSION)
    yield from _compare_commit("libggml", _text(ggml, "ggml_commit"))
    yield from _compare_version("libllama", _text(llama, "llama_version"), LLAMA_VERSION)
    shim = open_library("llamabind")
    if shim is None:
        return
    yield from _compare_commit("libllamabind", _text(shim, "lb_llama_commit"))
    yield from _compare_sizes(shim)


def _compare_version(library: str, found: str | None, expected: str) -> Iterator[str]:
    if found != expected:
        yield f"{library} says version {found or 'nothing'}, expected {expected}"


def _compare_commit(library: str, found: str | None) -> Iterator[str]:
    # A build without git knows no commit, one from a work tree with changes adds "-dirty".
    commit = (found or "").removesuffix("-dirty")
    if commit not in ("", "unknown") and not LLAMA_CPP_COMMIT.startswith(commit):
        yield f"{library} is built from commit {commit}"


def _compare_sizes(shim: ctypes.CDLL) -> Iterator[str]:
    size_of = _function(shim, "lb_struct_size", ctypes.c_size_t, [ctypes.c_char_p])
    if size_of is None:
        yield "libllamabind lacks lb_struct_size"
        return
    for name in MAIN_STRUCTS:
        native, declared = int(size_of(name.encode())), ctypes.sizeof(STRUCTS[name])
        if native not in (0, declared):  # 0: the shim was not taught this one
            yield f"struct {name} has {native} bytes, declared are {declared}"


def _text(library: ctypes.CDLL | None, name: str) -> str | None:
    function = library and _function(library, name, ctypes.c_char_p, [])
    value = function() if function else None
    return None if value is None else str(value.decode("utf-8", "replace"))


def _function(library: ctypes.CDLL, name: str, restype: Any, argtypes: list[Any]) -> Any:
    # A prototype of our own: setting restype on library.name would be seen by everybody else.
    try:
        return ctypes.CFUNCTYPE(restype, *argtypes)((name, library))
    except AttributeError:
        return None
