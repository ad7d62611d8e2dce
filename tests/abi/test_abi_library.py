"""The built libraries export what is declared, and return structs with the declared fields."""

import ctypes
import re
import subprocess
from pathlib import Path

import pytest

from llamabind._capi import ggml, llama, mtmd, stamp
from llamabind._capi.annotations import FIELDS
from llamabind._capi.loader import (
    DECLARATIONS,
    find_symbol,
    library_directory,
    library_file,
    load_backend_modules,
    open_library,
)
from llamabind.errors import SymbolMissingError
from tests.support.abi_declared import c_name, kind_of
from tests.support.abi_headers import Header
from tests.support.abi_probe import DEFAULTS, Probe
from tests.support.rpc_servers import has_rpc

pytestmark = [pytest.mark.abi, pytest.mark.native]


def test_bound_symbols_exist() -> None:
    missing = []
    for declaration in DECLARATIONS.values():
        try:
            find_symbol(declaration)
        except SymbolMissingError as error:
            # The one library that a build may lack.
            if declaration.library != "ggml-rpc" or has_rpc():
                missing.append(str(error))
    assert missing == []


def test_every_c_function_that_libllama_exports_was_found_in_the_header(
    headers: dict[str, Header],
) -> None:
    """A function that the header reader overlooks would be missing from all comparisons."""
    library = library_directory() / library_file("llama")
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True
    )
    exported = {line.split()[-1].partition("@")[0] for line in listed.stdout.splitlines()}
    read = {*headers["llama.h"].functions, *headers["llama.h"].deprecated}
    assert {name for name in exported if name.startswith("llama_")} == read


@pytest.mark.parametrize(("function", "struct"), [entry[:2] for entry in DEFAULTS])
def test_default_params_equal_what_a_c_program_gets(
    function: str, struct: str, probe: Probe
) -> None:
    expected = probe.defaults(library_directory())
    arguments = {"ggml_threadpool_params_default": (7,)}.get(function, ())
    namespace = {"ggml": ggml, "llama": llama, "mtmd": mtmd}[function.partition("_")[0]]
    ours = getattr(namespace, function)(*arguments)
    memory = bytes(ours)
    for name, field in FIELDS[struct].items():
        slot = getattr(type(ours), name)
        found = memory[slot.offset : slot.offset + slot.size].hex()
        if kind_of(field).startswith(("ptr<", "fn ")):
            found = "set" if int(found, 16) else "null"
        assert (name, found) == (name, expected[f"{function}.{c_name(name)}"])


def test_a_result_by_value_is_the_declared_struct() -> None:
    params = llama.llama_context_default_params()
    assert type(params).__name__ == "llama_context_params"
    assert ctypes.sizeof(params) == ctypes.sizeof(stamp.MAIN_STRUCTS["llama_context_params"])
    params.n_ctx = 77
    assert params.n_ctx == 77
    with pytest.raises(AttributeError):
        params.n_ctxx = 77


def test_the_built_libraries_have_the_expected_stamp() -> None:
    assert list(stamp.contradictions(stamp.read_stamp(open_library))) == []


def test_the_shim_knows_the_size_of_every_main_struct() -> None:
    sizes = stamp.read_stamp(open_library).struct_sizes
    assert sizes == {name: ctypes.sizeof(struct) for name, struct in stamp.MAIN_STRUCTS.items()}


def test_all_libraries_come_from_one_folder() -> None:
    """A run path or LD_LIBRARY_PATH must not load a second copy of ggml."""
    for library in ("llama", "mtmd", "llamabind"):
        open_library(library)
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    # Not libllamabind-cpu, which links to nothing: other tests open copies of it.
    loaded = set(re.findall(r"(/\S*)/lib(?:ggml|llama(?!bind-cpu)|mtmd)\S*\.so", maps))
    assert loaded == {str(library_directory().resolve())}


def test_a_cpu_backend_is_registered() -> None:
    load_backend_modules()
    assert ggml.ggml_backend_reg_by_name(b"CPU") is not None
