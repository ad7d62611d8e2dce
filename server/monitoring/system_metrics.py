"""SystemMetrics: CPUs, memory and GPUs, sampled on threads so that reading never blocks."""

import logging
import threading
from collections.abc import Callable

import msgspec

from server.formats import iso_time, utc_now
from server.monitoring.gpu import GpuDevice, GpuMemory, GpuReader
from server.monitoring.host import CpuMetrics, HostReader, MemoryMetrics
from server.monitoring.rpc_devices import RpcDevice, RpcReader

logger = logging.getLogger(__name__)
_PERIOD_SECONDS = 1.0
# NVML needs about a second for its first result; a hanging driver must not delay the start.
_FIRST_READING_SECONDS = 2.0


class GpuMetrics(msgspec.Struct, frozen=True):
    """The first GPU; numbers are 0 and texts null without one. `gpus` has all GPUs."""

    available: bool
    name: str | None
    memory: GpuMemory


class SystemDocument(msgspec.Struct, frozen=True):
    """The machine in GET /api/v2/metrics. `gpus` has every GPU, also the first; `rpc_devices` those
    of the servers of --rpc; `timestamp` is the time of the sample.
    """

    cpu: CpuMetrics
    memory: MemoryMetrics
    gpu: GpuMetrics
    gpus: tuple[GpuDevice, ...]
    timestamp: str
    rpc_devices: tuple[RpcDevice, ...] = ()


class SystemMetrics:
    """Samples once a second between `start` and `stop`. `document` and `gpus`: any thread.

    GPUs are read on a separate thread, so that a hanging driver does not stop the other figures.
    """

    def __init__(
        self, gpu_reader: GpuReader | None = None, rpc_reader: RpcReader | None = None
    ) -> None:
        self._gpu_reader = gpu_reader or GpuReader()
        self._rpc_reader = rpc_reader
        self._rpc_devices: tuple[RpcDevice, ...] = ()
        self._host = HostReader()
        self._gpus: tuple[GpuDevice, ...] = ()
        self._stop = threading.Event()
        self._gpus_were_read = threading.Event()
        self._read_host()

    @property
    def document(self) -> SystemDocument:
        """The latest sample."""
        gpus = self._gpus
        first = (
            GpuMetrics(True, gpus[0].name, gpus[0].memory)
            if gpus
            else GpuMetrics(False, None, GpuMemory())
        )
        return SystemDocument(
            self._cpu, self._memory, first, gpus, self._timestamp, self._rpc_devices
        )

    @property
    def gpus(self) -> tuple[GpuDevice, ...]:
        """Every GPU in the latest sample."""
        return self._gpus

    @property
    def rpc_devices(self) -> tuple[RpcDevice, ...]:
        """Every device of the RPC servers in the latest sample."""
        return self._rpc_devices

    def start(self) -> None:
        """Begin to sample; blocks until GPUs were read once, for at most 2 s."""
        readers = [("cpu-metrics", self._read_host), ("gpu-metrics", self._read_gpus)]
        if self._rpc_reader is not None:
            readers.append(("rpc-metrics", self._read_rpc))
        for name, read in readers:
            # Daemons: a thread that hangs in a driver must not keep the process from exiting.
            threading.Thread(target=self._sample, args=(read,), name=name, daemon=True).start()
        self._gpus_were_read.wait(_FIRST_READING_SECONDS)

    def stop(self) -> None:
        """Stop sampling."""
        self._stop.set()

    def _sample(self, read: Callable[[], None]) -> None:
        is_failing = False
        while not self._stop.is_set():
            try:
                read()
                is_failing = False
            except Exception as error:  # noqa: BLE001 - it is logged
                # Keep the old figures, and log only the first of consecutive failures.
                if not is_failing:
                    _log(error)
                is_failing = True
            self._stop.wait(_PERIOD_SECONDS)

    def _read_host(self) -> None:
        self._cpu: CpuMetrics = self._host.read_cpu()
        self._memory: MemoryMetrics = self._host.read_memory()
        self._timestamp = iso_time(utc_now())

    def _read_gpus(self) -> None:
        try:
            self._gpus = self._gpu_reader.read()
        finally:
            self._gpus_were_read.set()

    def _read_rpc(self) -> None:
        if self._rpc_reader is not None:
            self._rpc_devices = self._rpc_reader.read()


def _log(error: Exception) -> None:
    """Only a fault in the code needs a stack trace, not a refusal such as too many open files."""
    if isinstance(error, OSError):
        logger.warning("system metrics cannot be read: %s", error)
    else:
        logger.error("system metrics cannot be read", exc_info=error)
