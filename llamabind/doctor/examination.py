"""Collects the values that the checks need and runs them; a check that fails is a finding too."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from llamabind import __version__
from llamabind.doctor import environment_checks, machine_checks, native_checks
from llamabind.doctor.child import ask_child
from llamabind.doctor.finding import Finding, guarded
from llamabind.doctor.self_test_check import check_self_test, run_self_test_in_child
from llamabind.system.address_space import limit_text
from llamabind.system.control_groups import cpu_quota, read_text

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[], Finding]

# Not imported: host_memory needs psutil, which may be missing.
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_REPORT_SECONDS = 60.0  # to load the libraries and start the backends; a driver may take seconds
# Device files that GPU drivers create on Linux: (vendor, backend that uses the driver).
_GPU_FILES = {"/dev/nvidiactl": ("NVIDIA", "CUDA"), "/dev/kfd": ("AMD", "HIP")}


def examine(*, port: int, with_self_test: bool) -> list[Finding]:
    """Run all checks; those that explain others come first."""
    report = ask_child(["llamabind", "--json"], _REPORT_SECONDS)
    checks: dict[str, Check] = {
        "llamabind": lambda: Finding("llamabind", "ok", __version__),
        "Python": _python,
        "llama.cpp": lambda: native_checks.check_library(report),
    }
    native = native_checks.native_part(report)
    if native is not None:  # these need the loaded libraries
        checks["devices"] = lambda: native_checks.check_devices(native)
        checks["GPU"] = lambda: native_checks.check_gpu(native, _gpu_drivers())
    cpu = (report.fields or {}).get("cpu")
    if cpu or native:
        checks["CPU"] = lambda: native_checks.check_cpu(cpu, native)
    if cpu:
        checks["AMX"] = lambda: native_checks.check_amx(cpu)
    checks |= {
        "memory": _memory,
        "CPUs": _cpus,
        "huge pages": lambda: machine_checks.check_huge_pages(
            platform.system(), read_text(_HUGE_PAGES)
        ),
        "build cache": lambda: environment_checks.check_cache(
            environment_checks.cache_folder(os.environ)
        ),
        f"port {port}": lambda: environment_checks.check_port(port),
    }
    if with_self_test and native is not None:
        checks["self test"] = lambda: check_self_test(run_self_test_in_child())
    return [guarded(name, check) for name, check in checks.items()]


def _python() -> Finding:
    bits = 64 if sys.maxsize > 2**32 else 32
    return native_checks.check_python(sys.version_info[:3], platform.python_implementation(), bits)


def _memory() -> Finding:
    import psutil  # here, so that a missing dependency is this check's finding

    from llamabind.system.host_memory import host_memory

    memory = host_memory()
    return machine_checks.check_memory(
        memory.free, memory.total, int(psutil.virtual_memory().total), limit_text()
    )


def _cpus() -> Finding:
    machine = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    return machine_checks.check_cpus(machine, usable, cpu_quota())


def _gpu_drivers() -> dict[str, str]:
    return dict(names for path, names in _GPU_FILES.items() if Path(path).exists())
