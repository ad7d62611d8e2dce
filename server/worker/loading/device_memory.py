"""What a model takes of each device, and what there is: DeviceMemory from llamabind's figures."""

import resource
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llamabind.context.device_fit import FIT_MARGIN
from llamabind.context.memory_report import MemoryReport, MemoryUse
from llamabind.native.backend import devices
from llamabind.system.host_memory import host_memory
from server.protocol.messages import DeviceMemory, LoadFiles

HOST = "CPU"
_GPU_KINDS = frozenset({"gpu", "igpu"})


@dataclass(slots=True)
class _Sum:
    model: int = 0
    context: int = 0
    compute: int = 0

    def add(self, use: MemoryUse) -> None:
        self.model += use.model
        self.context += use.context
        self.compute += use.compute


def count_gpus() -> int:
    """How many GPUs llama.cpp can use."""
    return sum(device.kind in _GPU_KINDS for device in devices())


def device_memory(reports: Iterable[MemoryReport], files: LoadFiles) -> tuple[DeviceMemory, ...]:
    """The sum of `reports` and of the files loaded beside a model, by device; the host is first.

    Adapters and the projector are counted on the first GPU where there is one: that is where most
    of them goes.
    """
    gpus = {device.name: device for device in devices() if device.kind in _GPU_KINDS}
    sums = {name: _Sum() for name in (HOST, *gpus)}
    for report in reports:
        sums[HOST].add(report.host)
        for use in report.devices:
            # An accelerator without memory of its own, such as BLAS, works in the host's.
            sums[use.name if use.name in gpus else HOST].add(use)
    sums[next(iter(gpus), HOST)].model += companion_bytes(files)
    free, total = host_memory()
    host = sums.pop(HOST)
    found = [DeviceMemory(HOST, "host", host.model, host.context, host.compute, free, total)]
    for name, gpu in sums.items():
        # Some drivers do not say: 0 is no answer.
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
    """What must stay free on each of the model's devices, in their order: a GiB, or what is beyond
    the device's budget, and the room of whatever else the load brings.

    `free` is known of devices whose drivers tell it.
    """
    beside = dict.fromkeys((use.name for use in main.devices if use.type != "accel"), 0)
    if beside:
        beside[next(iter(beside))] += companion_bytes(files)
    for use in draft.devices if draft else ():
        if use.name in beside:
            beside[use.name] += use.total
    return [
        max(FIT_MARGIN, free.get(name, 0) - budgets[name] if name in budgets else 0) + n_bytes
        for name, n_bytes in beside.items()
    ]


def free_on_devices() -> dict[str, int]:
    """Bytes that are free on each GPU, by name, where its driver says so."""
    gpus = (device for device in devices() if device.kind in _GPU_KINDS)
    return {gpu.name: gpu.memory_free for gpu in gpus if gpu.memory_total > 0}


def limit_memory(n_bytes: int) -> None:
    """Let this process have so much data at most; what it asks for beyond that fails.

    Data only, not address space: a mapped file and what GPU drivers reserve do not count.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = n_bytes if hard == resource.RLIM_INFINITY else min(n_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
