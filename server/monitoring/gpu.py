"""GpuReader: reads NVIDIA GPUs through NVML; without a working driver the list is empty."""

import logging
from functools import cached_property
from typing import Any, Protocol

import msgspec

logger = logging.getLogger(__name__)
_MB = 1 << 20


class GpuMemory(msgspec.Struct, frozen=True):
    """Memory of one GPU; `percent` of it is used."""

    total_mb: int = 0
    used_mb: int = 0
    percent: float = 0.0


class GpuDevice(msgspec.Struct, frozen=True):
    """One GPU. `utilization` in percent; null if the driver does not report it."""

    index: int
    name: str
    memory: GpuMemory
    utilization: float | None


class Nvml(Protocol):
    """The functions of `pynvml` that are used here; tests replace them with a fake."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...  # noqa: D102, N802 - NVML's own names
    def nvmlDeviceGetCount(self) -> int: ...  # noqa: D102, N802
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...  # noqa: D102, N802
    def nvmlDeviceGetName(self, handle: Any) -> str | bytes: ...  # noqa: D102, N802
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...  # noqa: D102, N802
    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any: ...  # noqa: D102, N802


class GpuReader:
    """Reads all GPUs. Blocks, with a broken driver possibly for long: use a dedicated thread.

    If the driver cannot be opened, each reading tries again, since it may be installed later.
    """

    def __init__(self, nvml: Nvml | None = None) -> None:
        """`nvml`: by default pynvml, imported at the first reading."""
        self._given = nvml
        self._is_open = False
        self._last_problem = ""

    @cached_property
    def _nvml(self) -> Nvml:
        if self._given is not None:
            return self._given
        import pynvml  # type: ignore[import-untyped] # here: the start of the server needs no GPU

        nvml: Nvml = pynvml
        return nvml

    def read(self) -> tuple[GpuDevice, ...]:
        """Every GPU, in NVML's order; empty without a GPU or if the driver fails."""
        try:
            if not self._is_open:
                self._nvml.nvmlInit()
                self._is_open = True
            count = self._nvml.nvmlDeviceGetCount()
            devices = [self._read_one(index) for index in range(count)]
        except (self._nvml.NVMLError, OSError) as error:
            self._is_open = False
            self._report(str(error))
            return ()
        return tuple(device for device in devices if device is not None)

    def _read_one(self, index: int) -> GpuDevice | None:
        """One GPU; None if it does not respond. Unknown figures are zero or null."""
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            name = nvml.nvmlDeviceGetName(handle)
        except nvml.NVMLError as error:
            self._report(f"GPU {index}: {error}")
            return None
        text = name.decode(errors="replace") if isinstance(name, bytes) else name
        return GpuDevice(index, text, self._memory(handle), self._utilization(handle))

    def _memory(self, handle: Any) -> GpuMemory:
        try:
            memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        except self._nvml.NVMLError:  # not reported for GPUs that share the host's memory
            return GpuMemory()
        percent = 100.0 * memory.used / memory.total if memory.total else 0.0
        return GpuMemory(memory.total // _MB, memory.used // _MB, round(percent, 1))

    def _utilization(self, handle: Any) -> float | None:
        try:
            return float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        except self._nvml.NVMLError:
            return None

    def _report(self, problem: str) -> None:
        if problem != self._last_problem:
            self._last_problem = problem
            logger.info("no GPU figures: %s", problem)
