"""The memory a model takes on each device: DeviceMemory from llamabind's reports."""

import resource
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llamabind.context.device_fit import FIT_MARGIN
from llamabind.context.memory_report import MemoryReport, MemoryUse
from llamabind.native.backend import devices
from llamabind.system.host_memory import host_memory
from server.protocol.loading import DeviceMemory, LoadFiles

HOST = "CPU"
_GPU_KINDS = frozenset({"gpu", "igpu"})


@dataclass(slots=True)
class _Sum:
    model: int = 0
    context: int = 0
    compute: int = 0
    mapped: int = 0

    def add(self, use: MemoryUse) -> None:
        self.model += use.model
        self.context += use.context
        self.compute += use.compute


def count_gpus() -> int:
    """Number of GPUs that llama.cpp can use."""
    return sum(device.kind in _GPU_KINDS for device in devices())


def device_memory(reports: Iterable[MemoryReport], files: LoadFiles) -> tuple[DeviceMemory, ...]:
    """The sum of `reports` and of the files loaded beside a model, by device; the host is first.

    Adapters and the projector are counted on the first GPU, if there is one, since most of their
    data is placed there.
    """
    gpus = {device.name: device for device in devices() if device.kind in _GPU_KINDS}
    sums = {name: _Sum() for name in (HOST, *gpus)}
    for report in reports:
        sums[HOST].add(report.host)
        sums[HOST].mapped += report.host.mapped
        for use in report.devices:
            # An accelerator without its own memory, such as BLAS, uses the host's.
            sums[use.name if use.name in gpus else HOST].add(use)
    sums[next(iter(gpus), HOST)].model += companion_bytes(files)
    free, total = host_memory()
    host = sums.pop(HOST)
    found = [
        DeviceMemory(HOST, "host", host.model, host.context, host.compute, free, total, host.mapped)
    ]
    for name, gpu in sums.items():
        # Some drivers do not report memory: a total of 0 means unknown.
        known = gpus[name].memory_total > 0
        found.append(
            DeviceMemory(
                name,
                "gpu",
                gpu.model,
                gpu.context,
                gpu.compute,
                gpus[name].memory_free if known else None,
                gpus[name].memory_total if known else None,
            )
        )
    return tuple(found)


def companion_bytes(files: LoadFiles) -> int:
    """The size of adapters and projector: their files hold weights and little else."""
    paths = [path for path, _ in files.lora] + ([files.mmproj] if files.mmproj else [])
    return sum(Path(path).stat().st_size for path in paths)


def fit_margins(
    main: MemoryReport,
    draft: MemoryReport | None,
    files: LoadFiles,
    budgets: Mapping[str, int],
    free: Mapping[str, int],
) -> list[int]:
    """Bytes to leave free on each of the model's devices, in their order.

    A GiB, or free memory beyond the device's budget if that is more; plus the memory of adapters,
    projector and draft model. `free` has only devices whose drivers report it.
    """
    companions = dict.fromkeys((use.name for use in main.devices if use.type != "accel"), 0)
    if companions:
        companions[next(iter(companions))] += companion_bytes(files)
    for use in draft.devices if draft else ():
        if use.name in companions:
            companions[use.name] += use.total
    return [
        max(FIT_MARGIN, free.get(name, 0) - budgets[name] if name in budgets else 0) + n_bytes
        for name, n_bytes in companions.items()
    ]


def free_on_devices() -> dict[str, int]:
    """Free bytes on each GPU, by name, if its driver reports them."""
    gpus = (device for device in devices() if device.kind in _GPU_KINDS)
    return {gpu.name: gpu.memory_free for gpu in gpus if gpu.memory_total > 0}


def limit_memory(n_bytes: int) -> None:
    """Limit the data segment of this process: allocations beyond `n_bytes` fail.

    Data, not address space: mapped files and reservations of GPU drivers do not count.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = n_bytes if hard == resource.RLIM_INFINITY else min(n_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
