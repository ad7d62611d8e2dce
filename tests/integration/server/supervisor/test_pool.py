"""WorkerPool over real processes with a scripted engine (fake_worker.py)."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from server.catalogue.companion_files import CompanionFiles
from server.protocol.load_settings import LoadSettings
from server.supervisor.estimator import WorkerEstimator
from server.supervisor.launcher import WorkerLauncher
from server.supervisor.pool import WorkerPool
from tests.support.forked_worker import ForkedWorker
from tests.support.gguf_files import write_gguf
from tests.support.server_app import COMMAND, pause

_FILE = Path("/a/m.gguf")


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(COMMAND, ForkedWorker)
    yield pool
    await pool.close()


async def test_the_process_started_ahead_is_taken_once(pool: WorkerPool) -> None:
    pool.prepare()
    first, second = await pool.take(_FILE, "m"), await pool.take(_FILE, "m")
    assert first.pid != second.pid
    assert first.name == "m"
    await first.stop()
    await second.stop()


async def test_a_process_that_died_while_it_waited_is_replaced(pool: WorkerPool) -> None:
    pool.prepare()
    process = await pool.take(_FILE, "m")
    pool.keep(_FILE, process)
    os.kill(process.pid, signal.SIGKILL)
    await process.connection.closed
    other = await pool.take(_FILE, "m")
    assert other.pid != process.pid
    await other.stop()


async def test_a_kept_process_serves_its_own_file_only(pool: WorkerPool) -> None:
    process = await pool.take(_FILE, "m")
    pool.keep(_FILE, process)
    other = await pool.take(Path("/a/other.gguf"), "other")
    assert other.pid != process.pid
    assert (await pool.take(_FILE, "m")).pid == process.pid
    await process.stop()
    await other.stop()


async def test_closing_ends_all_processes_that_wait(pool: WorkerPool) -> None:
    kept = [await pool.take(Path(f"/a/{name}"), name) for name in "abc"]
    for process in kept:
        pool.keep(Path(f"/a/{process.name}"), process)
    pool.prepare()
    await pool.close()
    assert not any(psutil.pid_exists(process.pid) for process in kept)
    late = await pool.take(_FILE, "m")
    pool.keep(_FILE, late)
    await pool.close()
    assert not psutil.pid_exists(late.pid)


async def test_no_more_than_two_processes_are_kept(pool: WorkerPool) -> None:
    taken = [await pool.take(Path(f"/a/{name}"), name) for name in "abc"]
    for process in taken:
        pool.keep(Path(f"/a/{process.name}"), process)
    while psutil.pid_exists(taken[0].pid):
        await pause()
    assert all(psutil.pid_exists(process.pid) for process in taken[1:])


async def test_the_process_of_an_estimate_goes_on_to_load(pool: WorkerPool, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf")
    files = CompanionFiles([tmp_path])
    pool.prepare()
    spare = await pool.take(path, "m")
    pool.keep(path, spare)
    estimated = await WorkerEstimator(pool, files, 30)("m", path, LoadSettings(n_ctx=32))
    launcher = WorkerLauncher(pool, 30, files)
    client = await launcher("m", path, LoadSettings(n_ctx=32), lambda _: None, estimated)
    assert client.pid == spare.pid
    await client.stop()
