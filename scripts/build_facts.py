"""The facts of a native build: everything that the content of llama.cpp's libraries depends on.

scripts/native_build.py hashes them: equal facts have equal builds and share an entry of the cache.
"""

import ctypes
import hashlib
import os
import platform
import re
import shlex
import subprocess
from pathlib import Path

from llama_source import ROOT, LlamaSource

PROJECT = ROOT / "vendor"
CSRC = ROOT / "llamabind" / "csrc"
# Values that CMake's if() takes as false.
OFF_VALUES = {"", "0", "OFF", "NO", "FALSE", "N", "IGNORE", "NOTFOUND"}

# Environment variables that CMake and the compilers read.
ENVIRONMENT = re.compile(
    r"(C|CXX|CPP|LD|CUDA|HIP|OBJC|OBJCXX)FLAGS|CC|CXX|CUDACXX|CUDAHOSTCXX|HIPCXX|NVCC_\w+|SDKROOT"
    r"|CUDA_(PATH|HOME)|ROCM_PATH|HIP_\w+|VULKAN_SDK|ONEAPI_ROOT|MUSA_PATH|MACOSX_DEPLOYMENT_TARGET"
    r"|ARCHFLAGS|CMAKE_(PREFIX_PATH|TOOLCHAIN_FILE)|C(PLUS)?_INCLUDE_PATH|CPATH|LIBRARY_PATH"
)
# The compilers: the CMake definition and the environment variable that name one, the default.
COMPILERS = {
    "": [("CMAKE_C_COMPILER", "CC", "cc"), ("CMAKE_CXX_COMPILER", "CXX", "c++")],
    "GGML_CUDA": [("CMAKE_CUDA_COMPILER", "CUDACXX", "nvcc")],
    "GGML_HIP": [("CMAKE_HIP_COMPILER", "HIPCXX", "hipcc")],
    "GGML_MUSA": [("CMAKE_MUSA_COMPILER", "MUSACXX", "mcc")],
    "GGML_VULKAN": [("Vulkan_GLSLC_EXECUTABLE", "GLSLC", "glslc")],
}


def describe(definitions: dict[str, str], source: LlamaSource) -> dict[str, object]:
    """All that a build's content depends on, as JSON; equal facts give equal builds."""
    facts: dict[str, object] = {
        "llama.cpp": source.commit,
        "project": _project_files(definitions),
        "definitions": definitions,
        "environment": {k: v for k, v in os.environ.items() if ENVIRONMENT.fullmatch(k)},
        "compilers": _compilers(definitions),
        "system": [platform.system(), platform.machine(), platform.mac_ver()[0]],
        "libc": platform.libc_ver(),
    }
    if is_on(definitions.get("GGML_NATIVE", "ON")):
        facts["processor"] = _processor()
        facts["kernel grants AMX"] = _kernel_grants_amx()
        if is_on(definitions.get("GGML_CUDA", "")):
            query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
            facts["gpu"] = _output_of(query)
    return facts


def _project_files(definitions: dict[str, str]) -> dict[str, str]:
    """The files that vendor/CMakeLists.txt reads, by name, with a digest of each."""
    files = {PROJECT / "CMakeLists.txt", *PROJECT.glob("*.cmake"), *PROJECT.glob("*_*.cpp")}
    for option, name in (("LLAMABIND_BUILD_PEERS", "peers.cmake"), ("GGML_CUDA", "cuda.cmake")):
        if not is_on(definitions.get(option, "")):
            files.discard(PROJECT / name)
    files |= {CSRC / "cpu_features.h", CSRC / "cpu_features_probe.cpp"}
    return {path.name: _digest(path) for path in sorted(files)}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_on(value: str) -> bool:
    """True if CMake's if() takes `value` as true."""
    return value.upper() not in OFF_VALUES and not value.upper().endswith("-NOTFOUND")


def _compilers(definitions: dict[str, str]) -> list[str]:
    versions = []
    for option, compilers in COMPILERS.items():
        if option and not is_on(definitions.get(option, "")):
            continue
        for definition, variable, usual in compilers:
            program = definitions.get(definition) or os.environ.get(variable) or usual
            versions.append(f"{program}: {_output_of([*shlex.split(program), '--version'])}")
    return versions


def _processor() -> str:
    """What -march=native depends on: the CPU's model and instruction sets."""
    if platform.system() == "Darwin":
        return _output_of(["sysctl", "machdep.cpu.brand_string", "hw.optional"])
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    wanted = re.compile(
        r"model name|cpu family|model|flags|Features|CPU (part|implementer|variant)"
    )
    return "\n".join(line for line in lines if wanted.fullmatch(line.split(":")[0].strip()))


def _kernel_grants_amx() -> bool | None:
    """Whether the kernel lets a process use AMX's tiles; the build's run check depends on it.

    None on machines other than x86-64 Linux. (ARCH_GET_XCOMP_SUPP of Linux's asm/prctl.h)
    """
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return None
    arch_prctl, get_supported, tile_data = 158, 0x1021, 1 << 18
    supported = ctypes.c_uint64()
    try:
        failed = ctypes.CDLL(None).syscall(arch_prctl, get_supported, ctypes.byref(supported))
    except OSError:
        return None
    return not failed and bool(supported.value & tile_data)


def _output_of(command: list[str]) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "not found"
    return result.stdout.strip()
