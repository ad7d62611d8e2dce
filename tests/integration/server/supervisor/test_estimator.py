"""WorkerEstimator over real processes with a scripted estimate (fake_worker.py)."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.catalogue.companion_files import CompanionFiles
from server.protocol.load_settings import LoadSettings
from server.supervisor.estimator import WorkerEstimator
from server.supervisor.interface import LoadFailedError
from server.supervisor.pool import WorkerPool
from tests.support.gguf_files import write_gguf
from tests.support.server_app import COMMAND


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_gguf(tmp_path / "m.gguf")
    return tmp_path / "m.gguf"


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(COMMAND)
    yield pool
    await pool.close()


def _estimator(pool: WorkerPool, model: Path, seconds: float = 30.0) -> WorkerEstimator:
    return WorkerEstimator(pool, CompanionFiles([model.parent]), seconds)


def _processes(model: Path) -> int:
    return len(model.with_suffix(".estimates").read_text().splitlines())


async def test_estimates_are_cached_by_settings_but_free_memory_is_not(pool, model):
    estimate = _estimator(pool, model)
    first = await estimate("m", model, LoadSettings(n_ctx=32))
    again = await estimate("m", model, LoadSettings(n_ctx=32, ttl=5.0, pinned=True))
    assert _processes(model) == 1
    assert first.n_ctx == again.n_ctx == 32
    assert first.devices[0].used_bytes == again.devices[0].used_bytes
    assert again.devices[0].free_bytes != first.devices[0].free_bytes
    await estimate("m", model, LoadSettings(n_ctx=33))
    assert _processes(model) == 2


async def test_estimates_with_overridden_metadata_are_cached_by_it(pool, model):
    estimate = _estimator(pool, model)
    for value in (8, 8, 16):
        await estimate(
            "m", model, LoadSettings(n_ctx=32, override_kv={"llama.context_length": value})
        )
    assert _processes(model) == 2


async def test_a_changed_file_is_estimated_again(pool, model):
    estimate = _estimator(pool, model)
    await estimate("m", model, LoadSettings())
    os.utime(model, ns=(1, 1))
    await estimate("m", model, LoadSettings())
    assert _processes(model) == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("FAIL:corrupt_file", "corrupt_file"),
        ("ESTIMATE DIES", "crashed"),
        ("ESTIMATE BUG", "unknown"),
    ],
)
async def test_a_file_that_cannot_be_read_has_a_reason(pool, tmp_path, content, reason):
    write_gguf(tmp_path / "m.gguf", content)
    with pytest.raises(LoadFailedError) as caught:
        await _estimator(pool, tmp_path / "m.gguf")("m", tmp_path / "m.gguf", LoadSettings())
    assert caught.value.reason == reason


async def test_an_estimate_over_its_timeout_fails(pool, tmp_path):
    write_gguf(tmp_path / "m.gguf", "ESTIMATE SLOW")
    with pytest.raises(LoadFailedError) as caught:
        await _estimator(pool, tmp_path / "m.gguf", 0.5)("m", tmp_path / "m.gguf", LoadSettings())
    assert caught.value.reason == "timeout"


async def test_an_invalid_companion_file_names_its_field(pool, model):
    with pytest.raises(LoadFailedError) as caught:
        await _estimator(pool, model)("m", model, LoadSettings(mmproj="../x.gguf"))
    assert (caught.value.reason, caught.value.param) == ("invalid_parameter", "mmproj")


async def test_a_process_that_cannot_be_started_is_a_failed_load(model):
    estimate = WorkerEstimator(WorkerPool([str(model.parent / "none")]), CompanionFiles(()), 5)
    with pytest.raises(LoadFailedError, match="no worker process can be started"):
        await estimate("m", model, LoadSettings())
