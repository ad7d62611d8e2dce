"""A CPU without the libraries' instruction sets is refused before any of them is opened."""

import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llamabind._capi.cpu_features import check_cpu, read_cpu_report
from llamabind._capi.loader import library_file, open_library
from llamabind.errors import UnsupportedCpuError
from tests.support.cmake_project import configure
from tests.support.paths import ROOT

CSRC = ROOT / "llamabind" / "csrc"
IS_X86 = platform.machine() == "x86_64"

x86_only = pytest.mark.skipif(not IS_X86, reason="the names of x86's instruction sets")
Build = Callable[..., Path]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Compiles libllamabind-cpu as if the other libraries needed the instruction sets `needed`."""

    def compile_library(needed: str, *flags: str, optional: str = "") -> Path:
        library = tmp_path / library_file("llamabind-cpu")
        macros = [f'-DLB_CPU_NEEDED="{needed}"', f'-DLB_CPU_OPTIONAL="{optional}"']
        command = ["c++", "-shared", "-fPIC", "-O2", *flags, *macros]
        subprocess.run([*command, CSRC / "cpu_features.cpp", "-o", library], check=True)
        return library

    return compile_library


@pytest.mark.abi
@x86_only
def test_the_found_instruction_sets_are_those_that_linux_lists(build: Build) -> None:
    """/proc/cpuinfo lists what the CPU has and the kernel supports."""
    found = read_cpu_report(build("sse3"))
    assert found is not None
    listed = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    linux = {"sse3": "pni", "lzcnt": "abm", "bmi": "bmi1", "pclmul": "pclmulqdq"}
    for name in ("sse4_2", "avx", "avx2", "fma", "f16c", "movbe", "sse4a", "avx512f", "avx512bw"):
        linux[name] = name
    for name in ("vnni", "vbmi2", "bitalg", "vpopcntdq", "bf16", "fp16"):
        linux[f"avx512{name}"] = f"avx512_{name}"
    assert set(linux) & set(found.found) == {ours for ours, its in linux.items() if its in listed}
    assert found.missing == ()
    assert found.cpu


@pytest.mark.abi
@pytest.mark.usefixtures("unopened")
def test_an_unsupported_cpu_is_refused_before_any_other_library_is_opened(
    build: Build,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build("avx9000 warp9")
    for library in ("llama", "ggml", "ggml-base"):
        (tmp_path / library_file(library)).write_text(
            "not a library: opening it would raise another error"
        )
    monkeypatch.setenv("LLAMABIND_LIB_DIR", str(tmp_path))
    for _ in range(2):
        with pytest.raises(
            UnsupportedCpuError, match="lacks avx9000, warp9; build llamabind"
        ) as no:
            open_library("llama")
        assert no.value.missing == ("avx9000", "warp9")
    # A process of its own: functions that were called once stay bound in this one.
    done = subprocess.run(
        [sys.executable, "-m", "llamabind"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "lacks avx9000, warp9; build llamabind on this machine" in done.stdout


@pytest.mark.abi
def test_an_optional_instruction_set_may_be_missing(build: Build) -> None:
    library = build("", optional="amx_tile warp9")
    check_cpu(library)
    found = read_cpu_report(library)
    assert found is not None
    assert found.optional == ("amx_tile", "warp9")


@pytest.mark.abi
@x86_only
def test_the_check_itself_is_compiled_for_the_oldest_x86_64(build: Build) -> None:
    """The flags in csrc/cpu_library.cmake come after the user's CXXFLAGS and override them."""
    text = (CSRC / "cpu_library.cmake").read_text(encoding="utf-8")
    oldest = text.split("set(oldest -march=x86-64")[1].split(")")[0].split()
    library = build("sse3", "-march=haswell", "-mavx512f", "-march=x86-64", *oldest)
    code = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", library], capture_output=True, text=True, check=True
    )
    names = {line.split("\t")[1].split()[0] for line in code.stdout.splitlines() if "\t" in line}
    assert "cpuid" in names
    newer = {name for name in names if name.startswith("v") or name in ("movbe", "bextr", "shlx")}
    assert newer == set()


PROJECT = """
cmake_minimum_required(VERSION 3.21)
project(features_test LANGUAGES CXX)
include("@root@/vendor/cpu_features.cmake")
function(write name needed optional)
  file(APPEND "${CMAKE_BINARY_DIR}/found" "${name}|${needed}|${optional}\\n")
endfunction()
function(record name)
  llamabind_features_of(needed optional FLAGS ${ARGN})
  write(${name} "${needed}" "${optional}")
endfunction()
record(plain)
record(haswell -march=haswell)
record(xeon -march=sapphirerapids)
record(without_amx -march=sapphirerapids -mno-amx-tile -mno-amx-int8 -mno-amx-bf16)
file(WRITE nothing.cpp "")
add_library(first STATIC nothing.cpp)
add_library(second STATIC nothing.cpp)
target_compile_options(first PRIVATE -Wall -mavx $<$<COMPILE_LANGUAGE:CXX>:-O3>)
target_compile_options(second PRIVATE -mbmi2 -mf16c)
llamabind_features_of_targets(needed optional TARGETS first second)
write(targets "${needed}" "${optional}")
"""


@pytest.mark.abi
@x86_only
def test_the_build_reads_the_instruction_sets_from_the_compilers_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXXFLAGS", raising=False)
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.replace("@root@", str(ROOT)))
    configure(tmp_path)
    lines = [line.split("|") for line in (tmp_path / "build" / "found").read_text().splitlines()]
    needed = {name: set(filter(None, text.split(";"))) for name, text, _ in lines}
    optional = {name: set(filter(None, text.split(";"))) for name, _, text in lines}
    assert needed["plain"] == optional["plain"] == set()
    haswell = needed["haswell"]
    assert {"sse4_2", "popcnt", "avx", "avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt"} <= haswell
    assert not any(name.startswith("avx512") for name in haswell)
    assert {"avx512f", "avx512bw", "avx512vnni", "avx512fp16", "avxvnni"} <= needed["xeon"]
    assert optional["xeon"] == {"amx_tile", "amx_int8", "amx_bf16"}
    assert (needed["without_amx"], optional["without_amx"]) == (needed["xeon"], set())
    assert {"avx", "f16c", "bmi2"} <= needed["targets"]
    assert "avx2" not in needed["targets"]
