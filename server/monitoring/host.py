"""HostReader: utilization, frequency and memory of the machine."""

import os
from typing import Any

import msgspec
import psutil

_MB = 1 << 20


class CpuCores(msgspec.Struct, frozen=True):
    """Number of cores of the machine."""

    physical: int
    logical: int


class CpuFrequency(msgspec.Struct, frozen=True):
    """In MHz; 0 if the system does not report it."""

    current: int = 0
    min: int = 0
    max: int = 0


class CpuMetrics(msgspec.Struct, frozen=True):
    """All CPUs together; `utilization` in percent."""

    utilization: float
    cores: CpuCores
    frequency: CpuFrequency


class MemoryMetrics(msgspec.Struct, frozen=True):
    """Host memory; used is total minus available."""

    total_mb: int
    available_mb: int
    used_mb: int
    percent: float


class HostReader:
    """Reads the host. Utilization is the mean since the previous reading. One thread only."""

    def __init__(self) -> None:
        logical = psutil.cpu_count() or os.cpu_count() or 1
        self._cores = CpuCores(psutil.cpu_count(logical=False) or logical, logical)
        # psutil compares with the previous call, so its first result is meaningless.
        psutil.cpu_percent(interval=None)

    def read_cpu(self) -> CpuMetrics:
        """Read the CPUs; does not block."""
        return CpuMetrics(psutil.cpu_percent(interval=None), self._cores, _frequency())

    def read_memory(self) -> MemoryMetrics:
        """Read the memory."""
        memory = psutil.virtual_memory()
        used = memory.total - memory.available
        return MemoryMetrics(
            total_mb=memory.total // _MB,
            available_mb=memory.available // _MB,
            used_mb=used // _MB,
            percent=round(100.0 * used / memory.total, 1),
        )


def _frequency() -> CpuFrequency:
    try:
        # Can be None, although the type stubs exclude it.
        frequency: Any = psutil.cpu_freq()
    except (OSError, NotImplementedError, RuntimeError):
        return CpuFrequency()
    if frequency is None:
        return CpuFrequency()
    return CpuFrequency(round(frequency.current), round(frequency.min), round(frequency.max))
