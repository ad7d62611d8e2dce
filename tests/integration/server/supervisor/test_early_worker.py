"""EarlyWorker, with a scripted engine (fake_worker.py) in place of the worker."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.__main__ import main
from server.supervisor import early_worker
from server.supervisor.early_worker import EarlyWorker
from server.supervisor.pool import WorkerPool
from server.supervisor.process import WorkerProcess
from tests.support.paths import ROOT
from tests.support.server_app import COMMAND

_FILE = Path("/a/m.gguf")


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> Iterator[EarlyWorker]:
    monkeypatch.setattr(early_worker, "child_command", lambda _module: COMMAND)
    started = EarlyWorker.start()
    assert started is not None
    yield started
    started.end()


async def test_the_pool_hands_out_the_process_that_was_started_early(early: EarlyWorker) -> None:
    pool = WorkerPool(("not", "started"))
    pool.prepare(early)
    process = await pool.take(_FILE, "m")
    assert process.name == "m"
    assert early.take() is None
    assert os.getpgid(process.pid) == os.getpgid(0)
    end = await process.stop()
    assert (end.returncode, end.description) == (0, "exited with status 0")
    await pool.close()


async def test_a_signal_ends_it_and_is_named(early: EarlyWorker) -> None:
    process = await WorkerProcess.adopt(early, "m")
    assert process is not None
    process.send_signal(signal.SIGKILL)
    assert (await process.wait()).returncode == -signal.SIGKILL
    process.send_signal(signal.SIGKILL)  # no error: it has ended
    await process.stop()


async def test_its_output_is_kept_for_failure_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("python", "-c", "print('first'); print('last')")
    monkeypatch.setattr(early_worker, "child_command", lambda _module: command)
    early = EarlyWorker.start()
    assert early is not None
    process = await WorkerProcess.adopt(early, "m")
    assert process is not None
    assert (await process.wait()).log_tail == ("first", "last")
    process.connection.close()


async def test_the_pool_starts_another_if_it_was_ended(early: EarlyWorker) -> None:
    early.end()
    pool = WorkerPool(COMMAND)
    pool.prepare(early)
    process = await pool.take(_FILE, "m")
    assert not process.connection.closed.done()
    await process.stop()
    await pool.close()


async def test_closing_the_pool_ends_it(early: EarlyWorker) -> None:
    pool = WorkerPool(COMMAND)
    pool.prepare(early)
    process = await pool.take(_FILE, "m")
    pool.keep(_FILE, process)
    await pool.close()
    assert (await process.wait()).returncode == 0


def test_it_is_killed_and_reaped_if_it_was_not_taken(early: EarlyWorker) -> None:
    started = early.take()
    assert started is not None
    process, connection = started
    again = EarlyWorker(process, connection)
    again.end()
    assert process.returncode == -signal.SIGKILL
    assert connection.fileno() == -1
    again.end()


def test_a_system_that_refuses_leaves_the_error_to_the_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(early_worker, "child_command", lambda _module: ("/not/there",))
    assert EarlyWorker.start() is None


@pytest.mark.parametrize(
    ("words", "n_started"), [(["--help"], 0), (["--version"], 0), (["--no-such-flag"], 1)]
)
def test_a_command_line_that_serves_nothing_leaves_no_worker(
    monkeypatch: pytest.MonkeyPatch, words: list[str], n_started: int
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def start(*arguments: object, **options: object) -> "subprocess.Popen[bytes]":
        started.append(real(*arguments, **options))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(early_worker, "child_command", lambda _module: COMMAND)
    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(SystemExit):
        main(words)
    assert len(started) == n_started
    assert all(process.returncode is not None for process in started)


@pytest.mark.parametrize("module", ["server.supervisor.early_worker", "server.start.run"])
def test_ctrl_c_during_any_import_ends_the_start_without_a_traceback(module: str) -> None:
    code = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted)\n"
        "from server.__main__ import main\n"
        "sys.exit(main([]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
