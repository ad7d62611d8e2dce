"""CPU, memory and GPU figures, with a fake driver."""

# ruff: noqa: N802 - NVML's own names

import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.monitoring.gpu import GpuReader
from server.monitoring.host import HostReader
from server.monitoring.system_metrics import SystemMetrics
from tests.support.gguf_files import write_gguf
from tests.support.server_app import make_app


class FakeError(Exception):
    pass


@dataclass
class Figures:
    name: str | bytes
    used: int
    total: int
    gpu: int = 37
    missing: frozenset[str] = frozenset()


@dataclass
class FakeNvml:
    devices: list[Figures] = field(default_factory=list)
    init_error: str | None = None
    NVMLError: type[Exception] = FakeError

    def nvmlInit(self) -> None:
        if self.init_error:
            raise FakeError(self.init_error)

    def nvmlDeviceGetCount(self) -> int:
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Figures:
        return self._has(self.devices[index], "handle")

    def nvmlDeviceGetName(self, handle: Figures) -> str | bytes:
        return handle.name

    def nvmlDeviceGetMemoryInfo(self, handle: Figures) -> Figures:
        return self._has(handle, "memory")

    def nvmlDeviceGetUtilizationRates(self, handle: Figures) -> Figures:
        return self._has(handle, "utilization")

    def _has(self, device: Figures, what: str) -> Figures:
        if what in device.missing:
            raise FakeError(f"{what} not supported")
        return device


RTX = Figures("NVIDIA RTX 4090", 4096 << 20, 24576 << 20)
OLD = Figures(b"Tesla T4", 1 << 30, 4 << 30)


def _document(nvml: FakeNvml) -> dict[str, Any]:
    metrics = SystemMetrics(GpuReader(nvml))
    metrics.start()
    metrics.stop()
    document: dict[str, Any] = msgspec.to_builtins(metrics.document)
    return document


def test_the_first_gpu_has_the_references_keys_and_all_are_listed() -> None:
    document = _document(FakeNvml([RTX, OLD]))
    memory = {"total_mb": 24576, "used_mb": 4096, "percent": 16.7}
    assert document["gpu"] == {"available": True, "name": "NVIDIA RTX 4090", "memory": memory}
    assert [(gpu["index"], gpu["name"]) for gpu in document["gpus"]] == [
        (0, "NVIDIA RTX 4090"),
        (1, "Tesla T4"),
    ]
    assert document["gpus"][0]["utilization"] == 37.0


@pytest.mark.parametrize("nvml", [FakeNvml(), FakeNvml(init_error="Driver Not Loaded")])
def test_a_machine_without_gpu_or_driver_is_not_an_error(nvml: FakeNvml) -> None:
    document = _document(nvml)
    memory = {"total_mb": 0, "used_mb": 0, "percent": 0.0}
    assert document["gpu"] == {"available": False, "name": None, "memory": memory}
    assert document["gpus"] == ()


def test_a_gpu_without_memory_and_utilization_figures_is_listed() -> None:
    device = Figures("Orin", 1, 2, missing=frozenset({"memory", "utilization"}))
    (gpu,) = GpuReader(FakeNvml([device])).read()
    assert (gpu.name, gpu.memory.total_mb, gpu.utilization) == ("Orin", 0, None)


def test_a_gpu_that_does_not_respond_does_not_hide_the_others() -> None:
    lost = Figures("lost", 1, 2, missing=frozenset({"handle"}))
    (gpu,) = GpuReader(FakeNvml([lost, RTX])).read()
    assert gpu.index == 1


def test_a_driver_installed_later_is_found() -> None:
    nvml = FakeNvml([RTX], init_error="Driver Not Loaded")
    reader = GpuReader(nvml)
    assert reader.read() == ()
    nvml.init_error = None
    assert len(reader.read()) == 1


def test_a_hanging_driver_does_not_delay_cpu_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.monitoring.system_metrics._FIRST_READING_SECONDS", 0.0)
    release = threading.Event()

    class Hanging(FakeNvml):
        def nvmlInit(self) -> None:
            release.wait()

    metrics = SystemMetrics(GpuReader(Hanging()))
    metrics.start()
    assert metrics.document.gpu.available is False
    assert metrics.document.memory.total_mb > 0
    metrics.stop()
    release.set()


@pytest.mark.parametrize(
    ("error", "has_trace"),
    [(OSError(24, "Too many open files"), False), (ValueError("a fault"), True)],
)
def test_only_a_fault_in_the_code_is_logged_with_its_stack_trace(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    has_trace: bool,
) -> None:
    has_failed = threading.Event()

    def fail(_: HostReader) -> None:
        if caplog.records:
            has_failed.set()
        raise error

    metrics = SystemMetrics(GpuReader(FakeNvml()))
    monkeypatch.setattr("server.monitoring.system_metrics._PERIOD_SECONDS", 0.001)
    monkeypatch.setattr(HostReader, "read_cpu", fail)
    metrics.start()
    assert has_failed.wait(60)
    metrics.stop()
    (record,) = caplog.records
    assert "system metrics cannot be read" in record.getMessage()
    assert (record.exc_info is not None) is has_trace
    assert has_trace or "Too many open files" in record.getMessage()


def test_reading_cpu_utilization_does_not_block(monkeypatch: pytest.MonkeyPatch) -> None:
    intervals: list[float | None] = []

    def cpu_percent(interval: float | None = None) -> float:
        intervals.append(interval)
        return 12.5

    monkeypatch.setattr(psutil, "cpu_percent", cpu_percent)
    assert HostReader().read_cpu().utilization == 12.5
    assert intervals == [None, None]


@pytest.mark.parametrize("answer", [None, OSError(), NotImplementedError()])
def test_a_machine_without_frequencies_has_zeros(
    monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    def cpu_freq() -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(psutil, "cpu_freq", cpu_freq)
    frequency = HostReader().read_cpu().frequency
    assert (frequency.current, frequency.min, frequency.max) == (0, 0, 0)


async def test_the_endpoint_has_every_field_of_the_reference(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path))
    document = await (await client.get("/api/v2/metrics")).json()
    cpu, memory = document["cpu"], document["memory"]
    assert 0.0 <= cpu["utilization"] <= 100.0
    assert cpu["cores"]["logical"] >= cpu["cores"]["physical"] >= 1
    assert all(isinstance(cpu["frequency"][key], int) for key in ("current", "min", "max"))
    assert set(memory) == {"total_mb", "available_mb", "used_mb", "percent"}
    assert abs(memory["total_mb"] - memory["available_mb"] - memory["used_mb"]) <= 1
    assert set(document["gpu"]) == {"available", "name", "memory"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["timestamp"])
