"""Finds and opens the native libraries, and binds C functions to them at their first call.

LLAMABIND_LIB_DIR   folder of all libraries to use instead of the package's own lib/
"""

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import llamabind
from llamabind._capi import cpu_features, stamp
from llamabind._capi.annotations import CType, signature_of
from llamabind._capi.opening import open_file
from llamabind.errors import LibraryNotFoundError, SymbolMissingError

# The libraries that each one links to. Opening them first, by full path, makes the dynamic linker
# use our files regardless of LD_LIBRARY_PATH or a copied library's run path.
_LINKS_TO: dict[str, tuple[str, ...]] = {
    "ggml-base": (),
    "ggml-cpu": ("ggml-base",),
    "ggml-rpc": ("ggml-base",),
    "ggml": ("ggml-base", "ggml-cpu", "ggml-rpc"),
    "llama": ("ggml",),
    "mtmd": ("llama",),
    "llama-common": ("llama",),
    "llamabind": ("llama-common",),
}
# Missing in builds with GGML_BACKEND_DL, in which the CPU backend is one of several modules, and in
# builds with GGML_RPC=OFF.
_OPTIONAL = frozenset({"ggml-cpu", "ggml-rpc"})

_opened: dict[str, ctypes.CDLL | None] = {}
_lock = threading.RLock()
_is_checked = False

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Declaration:
    """One declared C function: its name, the library that exports it, and its signature."""

    name: str
    library: str
    function: Callable[..., Any]

    def signature(self) -> tuple[list[CType], CType]:
        """Argument types in order, and the result type."""
        return signature_of(self.function)


# Every function declared with @c_function, by its C name, in the order of the headers.
DECLARATIONS: dict[str, Declaration] = {}


def c_function(
    library: str,
) -> Callable[[Callable[[*_Args], _Result]], Callable[[*_Args], _Result]]:
    """Declares a C function of `library` ("llama", "ggml-base", ...) by an annotated, empty `def`.

    The symbol is looked up at the first call, so a missing one only affects its callers.
    """

    def declare(function: Callable[[*_Args], _Result]) -> Callable[[*_Args], _Result]:
        declaration = Declaration(function.__name__, library, function)
        DECLARATIONS[declaration.name] = declaration
        native: Any = None

        @functools.wraps(function)
        def call(*args: *_Args) -> _Result:
            nonlocal native
            if native is None:
                native = bind(declaration)
            result: _Result = native(*args)
            return result

        return call

    return declare


def bind(declaration: Declaration) -> Any:
    """Return the native function with its types set. Raises LibraryError if it is unavailable."""
    arguments, result = declaration.signature()
    argtypes = [argument.ctype for argument in arguments]
    restype = result.restype
    is_struct = isinstance(restype, type) and issubclass(restype, ctypes.Structure)
    if is_struct and ctypes.sizeof(restype) > _LARGEST_IN_REGISTERS:
        restype = _with_slack(restype)
        native = _prototype(restype, argtypes, find_symbol(declaration))
        native.errcheck = lambda value, *_: value.value
        return native
    return _prototype(restype, argtypes, find_symbol(declaration))


def find_symbol(declaration: Declaration) -> int:
    """Return the address of a declared function. Raises SymbolMissingError."""
    name, library = declaration.name, declaration.library
    opened = open_library(library)
    where = library_directory() / library_file(library)
    if opened is None:
        address = _cpu_backend_address(name)
        where = library_directory()
    else:
        address = _address_in(opened, name)
    if address is None:
        raise SymbolMissingError(
            f"{name}: not exported by {where}; these bindings expect llama.cpp "
            f"b{stamp.LLAMA_CPP_BUILD_NUMBER} ({stamp.LLAMA_CPP_COMMIT[:9]}); reinstall llamabind, "
            "or unset LLAMABIND_LIB_DIR if it names another build"
        )
    return address


def library_file(library: str) -> str:
    """Return the file name of a library on this platform."""
    if sys.platform == "win32":
        return f"{library}.dll"
    return f"lib{library}.dylib" if sys.platform == "darwin" else f"lib{library}.so"


@functools.cache
def library_directory() -> Path:
    """Return the folder with all native libraries; LibraryNotFoundError if it lacks libllama."""
    if chosen := os.environ.get("LLAMABIND_LIB_DIR"):
        llama = Path(chosen).expanduser().absolute() / library_file("llama")
    else:
        # An editable install has two roots, and only one has libraries.
        found = [Path(root, "lib", library_file("llama")) for root in llamabind.__path__]
        llama = next(filter(Path.is_file, found), found[0])
    if not llama.is_file():
        raise LibraryNotFoundError(
            f"no native library at {llama}; install the package (pip install .) to build it, or "
            "set LLAMABIND_LIB_DIR to the folder of a finished build"
        )
    return llama.parent


def cpu_library() -> Path:
    """Return the path of libllamabind-cpu, which may not exist: see cpu_features."""
    return library_directory() / library_file("llamabind-cpu")


def open_library(library: str) -> ctypes.CDLL | None:
    """Opens a library after those it links to; None only for an optional one that is missing.

    The first call checks the CPU, then the stamp.
    """
    global _is_checked
    with _lock:
        if not _is_checked:
            cpu_features.check_cpu(cpu_library())
            stamp.check_stamp(_open_if_present)
            _is_checked = True
        opened = _open_if_present(library)
    if opened is None and library not in _OPTIONAL:
        raise LibraryNotFoundError(
            f"no native library at {library_directory() / library_file(library)}; "
            "install the package (pip install .) to build it"
        )
    return opened


def _open_if_present(library: str) -> ctypes.CDLL | None:
    if library not in _opened:
        for needed in _LINKS_TO[library]:
            _open_if_present(needed)
        path = library_directory() / library_file(library)
        _opened[library] = open_file(path) if path.is_file() else None
    return _opened[library]


def _address_in(library: ctypes.CDLL, name: str) -> int | None:
    try:
        return ctypes.cast(library[name], ctypes.c_void_p).value
    except AttributeError:
        return None


def _cpu_backend_address(name: str) -> int | None:
    """With GGML_BACKEND_DL: look up a function in the loaded CPU module; None if not found.

    The module exports those listed in ggml_backend_cpu_get_proc_address (ggml-cpu.cpp).
    """
    registry, base = open_library("ggml"), open_library("ggml-base")
    by_name, lookup = "ggml_backend_reg_by_name", "ggml_backend_reg_get_proc_address"
    if registry is None or base is None:
        return None
    load_backend_modules()
    find_backend = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)((by_name, registry))
    find_function = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
        (lookup, base)
    )
    backend = find_backend(b"CPU")
    return find_function(backend, name.encode()) if backend else None


def load_backend_modules() -> None:
    """Registers the backends of a build with GGML_BACKEND_DL, which are modules in lib/.

    llama.cpp itself would search the Python interpreter's folder. Does nothing in other builds,
    which register their backends when they are opened. Call it before llama_backend_init.
    """
    registry = open_library("ggml")
    if registry is None:
        return
    count = ctypes.CFUNCTYPE(ctypes.c_size_t)(("ggml_backend_reg_count", registry))
    load = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(("ggml_backend_load_all_from_path", registry))
    with _lock:
        if count() == 0:
            load(os.fsencode(library_directory()))


def _prototype(restype: Any, argtypes: list[Any], address: int) -> Any:
    return ctypes.CFUNCTYPE(restype, *argtypes)(address)


# Every ABI returns a larger struct through memory of the caller (the largest one returned in
# registers is four doubles on AArch64).
_LARGEST_IN_REGISTERS = 32
_SLACK_BYTES = 512


def _with_slack(struct: type[ctypes.Structure]) -> type[ctypes.Structure]:
    """Return `struct` with spare bytes at its end, in case C's struct is larger than the stamp."""
    fields = [("value", struct), ("slack", ctypes.c_uint8 * _SLACK_BYTES)]
    return type(f"{struct.__name__}_with_slack", (ctypes.Structure,), {"_fields_": fields})
