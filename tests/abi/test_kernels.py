"""Objects compiled for newer CPUs contain no function that other objects could use instead."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from llama_source import llama_cpp_source

from tests.support.abi_probe import SHIM_HEADERS

pytestmark = [
    pytest.mark.abi,
    pytest.mark.skipif(
        platform.machine() not in ("x86_64", "AMD64") or sys.platform != "linux",
        reason="the kernels are for x86-64, and the check reads nm's letters for ELF",
    ),
]

AVX512 = ["-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
VNNI = ["-mavx512vnni", "-mavxvnni"]


def compile_object(source: Path, target: Path, *flags: str) -> Path:
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    assert compiler, "needs a C++ compiler"
    include = llama_cpp_source() / "ggml" / "include"
    command: list[str | Path] = [
        compiler,
        "-std=gnu++17",
        *AVX512,
        *flags,
        f"-I{include}",
        "-c",
        source,
    ]
    subprocess.run([*command, "-o", target], check=True, timeout=100)
    return target


def check(*objects: Path) -> subprocess.CompletedProcess[str]:
    nm, cmake = shutil.which("nm"), Path(sys.executable).with_name("cmake")
    definitions = [f"-DNM={nm}", f"-DOBJECTS={';'.join(map(str, objects))}"]
    script = SHIM_HEADERS / "check_kernel_symbols.cmake"
    return subprocess.run(
        [cmake, *definitions, "-P", script], capture_output=True, text=True, timeout=100
    )


@pytest.mark.parametrize("kernel", ["attention_avx512", "panels_avx512", "panels_avx2"])
def test_the_kernels_share_no_function_even_without_inlining(tmp_path: Path, kernel: str) -> None:
    source = SHIM_HEADERS / f"{kernel}.cpp"
    objects = [compile_object(source, tmp_path / f"{n}.o", *VNNI, f"-O{n}") for n in (0, 3)]
    result = check(*objects)
    assert result.returncode == 0, result.stderr


def test_a_standard_template_in_a_kernel_fails_the_build(tmp_path: Path) -> None:
    source = tmp_path / "kernel.cpp"
    source.write_text("#include <algorithm>\nint larger(int a, int b) { return std::max(a, b); }\n")
    spoilt = compile_object(source, tmp_path / "kernel.o", "-O0")
    kernel = compile_object(SHIM_HEADERS / "attention_avx2.cpp", tmp_path / "good.o", "-O1")
    result = check(kernel, spoilt)
    assert result.returncode != 0
    assert "std::max<int>" in result.stderr
    assert "kernel.o" in result.stderr
