"""Libraries of another build are an error, not a crash; the tests compile such libraries."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llamabind._capi import stamp
from llamabind._capi.loader import library_file
from tests.support.paths import ROOT

pytestmark = pytest.mark.abi

SOURCE = """
#include <cstddef>
#include <cstring>
extern "C" {
const char * ggml_version(void)    { return "%(version)s"; }
const char * ggml_commit(void)     { return "unknown"; }
const char * llama_version(void)   { return "%(llama_version)s"; }
const char * lb_llama_commit(void) { return "%(commit)s"; }
size_t lb_struct_size(const char * name) { return strcmp(name, "llama_batch") ? 0 : %(size)d; }
size_t llama_max_devices(void)     { return 3; }

// llama_context_params with fields added
struct grown { char bytes[400]; };
struct grown llama_context_default_params(void) {
    struct grown params;
    memset(params.bytes, 0x7f, sizeof(params.bytes));
    return params;
}
}
"""
FITTING = {
    "version": stamp.GGML_VERSION,
    "llama_version": stamp.LLAMA_VERSION,
    "commit": stamp.LLAMA_CPP_COMMIT,
    "size": 56,
}


def _build(folder: Path, **differences: object) -> Path:
    """A folder in which every library is the same small one."""
    source, library = folder / "foreign.cpp", folder / library_file("llama")
    source.write_text(SOURCE % (FITTING | differences))
    compiler = os.environ.get("CXX") or shutil.which("c++") or "g++"
    command = [*compiler.split(), "-shared", "-fPIC", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    for name in ("ggml-base", "ggml", "llama-common", "llamabind"):
        shutil.copy(library, folder / library_file(name))
    return folder


def _run(folder: Path, code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"from llamabind._capi import llama\n{code}"],
        env={"PYTHONPATH": str(ROOT), "LLAMABIND_LIB_DIR": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_another_version_is_refused_before_the_first_call(tmp_path: Path) -> None:
    said = _run(_build(tmp_path, version="9.9.9"), "print(llama.llama_max_devices())")
    assert "LibraryMismatchError: the native libraries do not fit these bindings" in said
    assert "libggml reports version 9.9.9, expected 0.25.3" in said


def test_a_larger_struct_is_refused_before_the_first_call(tmp_path: Path) -> None:
    said = _run(_build(tmp_path, size=64), "print(llama.llama_max_devices())")
    assert "struct llama_batch has 64 bytes, but 56 are declared" in said


def test_the_error_for_a_missing_symbol_names_it_the_library_and_the_expected_version(
    tmp_path: Path,
) -> None:
    code = "print(llama.llama_max_devices())\nllama.llama_supports_mmap()"
    said = _run(_build(tmp_path), code)
    assert said.startswith("3\n")
    assert "SymbolMissingError: llama_supports_mmap: not exported by" in said
    assert str(tmp_path / library_file("llama")) in said
    assert "llama.cpp b11312 (0c1e57098)" in said


def test_a_larger_result_struct_does_not_overwrite_memory_without_the_check(tmp_path: Path) -> None:
    """The C function writes 400 bytes where 160 are declared."""
    code = (
        "for _ in range(1000):\n"
        "    params = llama.llama_context_default_params()\n"
        "print(hex(params.n_ctx), type(params).__name__)"
    )
    said = _run(_build(tmp_path, version="9.9.9"), code, LLAMABIND_SKIP_STAMP="1")
    assert said == "0x7f7f7f7f llama_context_params\n"
