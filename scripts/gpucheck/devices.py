"""Finds the library's devices by running `python -m llamabind` in another process."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_source import ROOT

_NOT_GPUS = ("CPU", "BLAS", "RPC")  # RPC is in every build, and has no devices of this machine
_SECONDS = 120  # the first use of PTX may compile it

NO_GPU: Mapping[str, str] = {
    "CUDA_VISIBLE_DEVICES": "",
    "HIP_VISIBLE_DEVICES": "",
    "ROCR_VISIBLE_DEVICES": "",
}
"""The environment in which a library with CUDA or ROCm computes on the CPU alone. `n_gpu_layers: 0`
is not enough: ggml still sends large products to a GPU that it sees.
"""


class NoGpuError(Exception):
    """There is no GPU to check; the message says what was found and what to do."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A device of the library other than the CPU."""

    name: str
    description: str
    memory_total: int

    def text(self) -> str:
        return f"{self.name} ({self.description}, {self.memory_total / 1e9:.0f} GB)"


def nvidia_folders(paths: Sequence[str]) -> list[str]:
    """The folders of cudart and cuBLAS in NVIDIA's wheels; `paths` contains site-packages."""
    patterns = ("nvidia/cu[0-9]*/lib", "nvidia/cublas/lib", "nvidia/cuda_runtime/lib")
    folders = [Path(path) for path in paths if path]
    found = [found for folder in folders for pattern in patterns for found in folder.glob(pattern)]
    return [str(path.absolute()) for path in found]


def library_report(environment: Mapping[str, str]) -> dict[str, Any]:
    """The report of `python -m llamabind --json`, run with `environment` added to ours."""
    result = subprocess.run(
        [sys.executable, "-m", "llamabind", "--json"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    try:
        report: dict[str, Any] = json.loads(result.stdout)
    except ValueError:
        tail = result.stderr.strip()[-2000:]
        raise NoGpuError(
            f"`python -m llamabind` failed (exit {result.returncode}): {tail}"
        ) from None
    return report


def find_gpus(report: Mapping[str, Any]) -> list[Gpu]:
    """The GPUs in a report. Raises NoGpuError if there are none."""
    native = report.get("native")
    if not native:
        raise NoGpuError(f"the native library cannot be used: {report.get('problem')}")
    found = [device for device in native["devices"] if device["kind"] != "cpu"]
    gpus = [device for device in found if device["kind"] in ("gpu", "igpu")]
    if gpus:
        return [Gpu(d["name"], d["description"], d["memory_total"]) for d in gpus]
    others = [name for name in native["backends"] if name not in _NOT_GPUS]
    where = native["library_path"]
    if not others:
        raise NoGpuError(
            f"no GPU: the library in {where} was built for the CPU only; give the folder that "
            "scripts/check_cuda_build made, or install with CMAKE_ARGS=-DGGML_CUDA=ON"
        )
    raise NoGpuError(
        f"no GPU: the library in {where} has the backend {', '.join(others)}, which finds no "
        "device; check that nvidia-smi lists one and that its driver is new enough for this "
        "CUDA version (13.0: 580 or newer)"
    )
