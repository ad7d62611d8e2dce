"""The facts about an installation that a bug report needs: versions, libraries, devices."""

import os
import platform
from dataclasses import dataclass, field

from llamabind import __version__
from llamabind._capi import ggml, llama, shim
from llamabind._capi.cpu_features import CpuReport, read_cpu_report
from llamabind._capi.loader import cpu_library, library_directory
from llamabind.errors import ContextCreateError, LibraryError
from llamabind.native import backend
from llamabind.native.backend import Device
from llamabind.native.kernels import attention_in_use


@dataclass(frozen=True, slots=True)
class NativeReport:
    """What the loaded native libraries report about themselves.

    `features` holds what each backend was built with or has detected, such as AVX2; `attention` is
    the attention kernel that contexts on the CPU use.
    """

    library_path: str
    llama_version: str
    llama_commit: str
    build_number: int
    ggml_version: str
    backends: tuple[str, ...]
    devices: tuple[Device, ...]
    features: dict[str, dict[str, str]]
    attention: str


@dataclass(frozen=True, slots=True)
class BugReport:
    """The whole report; without usable libraries `native` is None and `problem` says why.

    `cpu` lists the instruction sets that the libraries need and those that the CPU has, even if
    some are missing; None if the libraries do not state what they need.
    """

    llamabind_version: str
    python_version: str
    platform: str
    native: NativeReport | None
    problem: str | None
    environment: dict[str, str] = field(default_factory=dict)
    cpu: CpuReport | None = None


def make_bug_report() -> BugReport:
    """Start the native backends and return the report; their errors go into `problem`."""
    native, problem = None, None
    try:
        native = _native_report()
    except LibraryError as error:
        problem = str(error)
    return BugReport(
        llamabind_version=__version__,
        python_version=f"{platform.python_version()} ({platform.python_implementation()})",
        platform=platform.platform(),
        native=native,
        problem=problem,
        environment=_settings(),
        cpu=_cpu_report(),
    )


def _cpu_report() -> CpuReport | None:
    try:
        return read_cpu_report(cpu_library())
    except LibraryError:
        return None


def _native_report() -> NativeReport:
    backend.init()
    return NativeReport(
        library_path=str(library_directory()),
        llama_version=llama.llama_version().decode(),
        llama_commit=shim.lb_llama_commit().decode(),
        build_number=shim.lb_build_number(),
        ggml_version=ggml.ggml_version().decode(),
        backends=backend.backends(),
        devices=backend.devices(),
        features=backend.features(),
        attention=_attention(),
    )


def _attention() -> str:
    try:
        return attention_in_use()
    except ContextCreateError as error:
        return str(error)


def _settings() -> dict[str, str]:
    """The environment variables that change native code; no other ones, which may be secret."""
    prefixes = ("LLAMABIND_", "GGML_", "CUDA_VISIBLE_", "HIP_VISIBLE_", "OMP_")
    return {k: v for k, v in sorted(os.environ.items()) if k.startswith(prefixes)}


def format_report(report: BugReport) -> str:
    """Return the report as text, one line for each fact."""
    lines = [
        ("llamabind", report.llamabind_version),
        ("python", report.python_version),
        ("platform", report.platform),
        *(_native_lines(report.native) if report.native else []),
        *((name, value) for name, value in report.environment.items()),
    ]
    if report.problem:
        lines.append(("problem", report.problem))
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join(f"{name:<{width}}{value}" for name, value in lines)


def format_devices(native: NativeReport) -> str:
    """Return the devices that can run models, one line each, in llama-server's format."""
    lines = [f"  {device.name}: {_device_text(device)}" for device in native.devices]
    return "\n".join(("Available devices:", *lines))


def _native_lines(native: NativeReport) -> list[tuple[str, str]]:
    build = f"{native.llama_version} b{native.build_number} ({native.llama_commit})"
    lines = [
        ("llama.cpp", f"{build}, ggml {native.ggml_version}"),
        ("libraries", native.library_path),
        ("backends", ", ".join(native.backends)),
    ]
    for name, features in native.features.items():
        found = (k if v == "1" else f"{k}={v}" for k, v in features.items() if v != "0")
        lines.append((f"{name} features", ", ".join(found)))
    lines.append(("attention", native.attention))
    for device in native.devices:
        lines.append((f"device {device.name}", _device_text(device)))
    return lines


def _device_text(device: Device) -> str:
    gib = 2**30
    memory = f"{device.memory_free / gib:.1f} of {device.memory_total / gib:.1f} GiB free"
    return f"{device.description} ({device.kind}, {memory})"
