"""Checks of the installation: versions, libraries, devices, AMX. The report comes from a child."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llamabind.doctor.child import REINSTALL, failed_child
from llamabind.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llamabind.doctor.child import ChildAnswer

Native = dict[str, Any]  # bug_report.NativeReport as JSON
Cpu = dict[str, Any]  # _capi.cpu_features.CpuReport as JSON
# Instruction sets that make matrix products several times as fast.
_WIDE_SETS = {"avx2": "AVX2", "avx512f": "AVX512"}  # ours and ggml's names
_GIB = 2**30
_OLDEST_PYTHON = (3, 11)


def check_python(version: tuple[int, ...], implementation: str, bits: int) -> Finding:
    """Check the Python version that the package requires; pip has checked it at the install."""
    detail = f"{'.'.join(map(str, version[:3]))} ({implementation}, {bits} bits)"
    if version[:2] < _OLDEST_PYTHON or bits < 64:
        return Finding("Python", "broken", detail, "use a 64-bit Python 3.11 or newer")
    return Finding("Python", "ok", detail)


def check_library(answer: ChildAnswer) -> Finding:
    """`answer` is the bug report of a child process, which has loaded the libraries."""
    name = "llama.cpp"
    native = native_part(answer)
    if native:
        build = f"{native['llama_version']} b{native['build_number']} ({native['llama_commit']})"
        detail = f"{build}, ggml {native['ggml_version']}, from {native['library_path']}"
        return Finding(name, "ok", detail)
    if failed := failed_child(name, answer):
        return failed
    fields = answer.fields or {}
    # llamabind's errors have the form "what is wrong; what to do".
    problem, _, advice = str(fields.get("problem") or "no library was loaded").partition("; ")
    setting = (fields.get("environment") or {}).get("LLAMABIND_LIB_DIR")
    if setting:
        advice = f"unset LLAMABIND_LIB_DIR (now {setting}), or {advice or REINSTALL}"
    return Finding(name, "broken", problem, advice or REINSTALL)


def check_devices(native: Native) -> Finding:
    """List the devices that can compute models, with their free memory."""
    devices = native["devices"]
    if not devices:
        detail = f"none, from the backends {', '.join(native['backends']) or '(none)'}"
        return Finding("devices", "broken", detail, REINSTALL)
    return Finding("devices", "ok", "; ".join(_device_text(device) for device in devices))


def check_gpu(native: Native, drivers: Mapping[str, str]) -> Finding:
    """Compare the GPU drivers of this machine, {"NVIDIA": "CUDA"}, with the build's backends."""
    found = [it["name"] for it in native["devices"] if it["kind"] in ("gpu", "igpu")]
    if found:
        return Finding("GPU", "ok", f"models are computed on {', '.join(found)}")
    if not drivers:
        return Finding("GPU", "ok", "none found; models are computed on the CPU")
    vendor, backend = next(iter(drivers.items()))
    if _has_backend(native, backend):
        detail = (
            f"{vendor}'s driver is installed, but the build's {backend} backend finds no device"
        )
        variables = "CUDA_VISIBLE_DEVICES" if backend == "CUDA" else "HIP_VISIBLE_DEVICES"
        return Finding("GPU", "warning", detail, f"check the driver's version and {variables}")
    advice = f'`CMAKE_ARGS="-DGGML_{backend}=ON" pip install --force-reinstall .` builds it in'
    detail = f"{vendor}'s driver is installed, but this build lacks {backend}"
    return Finding("GPU", "warning", detail, advice)


def check_cpu(cpu: Cpu | None, native: Native | None) -> Finding:
    """Compare the instruction sets that the libraries need with those of this CPU."""
    if cpu is None:
        detail = (
            "the libraries do not list the instruction sets that they need; "
            "they may be those of another project"
        )
        return Finding("CPU", "warning", detail, REINSTALL)
    needed, found = cpu["needed"], set(cpu["found"])
    if missing := [name for name in needed if name not in found]:
        detail = f"the libraries need {', '.join(missing)}, which this CPU ({cpu['cpu']}) lacks"
        return Finding("CPU", "broken", detail, f"{REINSTALL}, which builds them for this CPU")
    widest = [name for name in _WIDE_SETS if name in needed]
    detail = f"{cpu['cpu'] or 'unknown'}, built for {', '.join(widest) or 'any CPU of its kind'}"
    if unused := [name for name in _unused(native) if name in found]:
        detail += f", found but not used: {', '.join(unused)}"
        return Finding("CPU", "warning", detail, f"{REINSTALL}, which is faster")
    return Finding("CPU", "ok", f"{detail}; all {len(needed)} instruction sets needed are found")


def check_amx(cpu: Cpu) -> Finding:
    """Report whether AMX, Intel's matrix unit, is used; `found` needs support by CPU and kernel."""
    if "amx_tile" not in cpu["found"]:
        return Finding("AMX", "ok", "not used: this CPU or the system does not support it")
    if "amx_int8" in cpu["optional"]:
        return Finding("AMX", "ok", "used: both this CPU and the build support it")
    return Finding(
        "AMX",
        "warning",
        "not used: this CPU supports it, but the build does not",
        f"{REINSTALL}; with AMX, quantised models compute prompts 3 to 4 times as fast",
    )


def native_part(answer: ChildAnswer) -> Native | None:
    """Return the bug report's part on the native libraries, None if they were not loaded."""
    native: Native | None = (answer.fields or {}).get("native")
    return native


def _unused(native: Native | None) -> list[str]:
    """Return the instruction sets that the CPU backend in use was built without."""
    if native is None:
        return []
    features = native["features"].get("CPU", {})
    return [name for name, ggml_name in _WIDE_SETS.items() if features.get(ggml_name) != "1"]


def _has_backend(native: Native, backend: str) -> bool:
    names = {"HIP": ("HIP", "ROCm")}.get(backend, (backend,))  # ggml's own name for HIP
    return any(name in native["backends"] for name in names)


def _device_text(device: dict[str, Any]) -> str:
    free, total = device["memory_free"] / _GIB, device["memory_total"] / _GIB
    name, description = device["name"], device["description"]
    return f"{name} ({description}, {free:.1f} of {total:.1f} GiB free)"
