"""Builds llama-perplexity from the pinned source against our own build of llama.cpp."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from llama_source import llama_cpp_source

import llamabind


def build(folder: Path) -> Path:
    """The program in `folder`; two files are compiled, everything else is in our libraries."""
    source = llama_cpp_source()
    variable = os.environ.get("LLAMABIND_LIB_DIR")
    lib = Path(variable) if variable else Path(llamabind.__file__).parent / "lib"
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    assert compiler, "needs a C++ compiler"
    program = folder / "llama-perplexity"
    includes = [f"-I{source / name}" for name in ("include", "ggml/include", "common", "vendor")]
    files = [str(path) for path in sorted((source / "tools/perplexity").glob("*.cpp"))]
    libraries = [f"-l{name}" for name in ("llama-common", "llama", "ggml", "ggml-base")]
    command = [
        compiler,
        "-std=gnu++17",
        "-O1",
        "-DGGML_SHARED",
        "-DLLAMA_SHARED",
        *includes,
        *files,
    ]
    command += ["-o", str(program), f"-L{lib}", *libraries, f"-Wl,-rpath,{lib}", "-pthread"]
    command += [f"-Wl,-rpath-link,{lib}"]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return program


def perplexity(program: Path, model: Path, text: Path, n_ctx: int, n_chunks: int) -> float:
    """What the program prints for the first chunks of `n_ctx` tokens."""
    command = [str(program), "-m", str(model), "-f", str(text), "-c", str(n_ctx), "-b", str(n_ctx)]
    command += ["--chunks", str(n_chunks), "-t", "2"]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=500)
    found = re.search(r"Final estimate: PPL = ([0-9.]+)", result.stdout + result.stderr)
    assert found, result.stdout[-2000:] + result.stderr[-2000:]
    return float(found[1])
