"""ForkedWorker of the tests acts as a worker process that was started as the server does it."""

import asyncio
import signal
from pathlib import Path

import psutil
import pytest

from server.protocol.framing import FrameReader, encode_frame
from server.protocol.load_settings import LoadSettings
from server.protocol.loading import Load
from server.protocol.messages import Hello
from server.supervisor.process import WorkerProcess
from tests.support.forked_worker import ForkedWorker
from tests.support.gguf_files import write_gguf
from tests.support.server_app import COMMAND

_TYPES = pytest.mark.parametrize("process_type", [WorkerProcess, ForkedWorker])


async def _hello(process: WorkerProcess) -> Hello:
    """The worker's first message."""
    frames: FrameReader[Hello] = FrameReader(Hello)
    received: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
    process.connection.listen(lambda data: received.set_result(next(iter(frames.feed(data)))))
    return await received


@_TYPES
async def test_its_process_id_is_the_workers_own(process_type: type[WorkerProcess]) -> None:
    process = await process_type.start(COMMAND, "test")
    assert (await _hello(process)).pid == process.pid
    assert (await process.stop()).returncode == 0
    assert not psutil.pid_exists(process.pid)


@_TYPES
async def test_a_signal_is_its_exit_status(process_type: type[WorkerProcess]) -> None:
    process = await process_type.start(COMMAND, "test")
    await _hello(process)
    process.send_signal(signal.SIGKILL)
    assert (await process.wait()).returncode == -signal.SIGKILL
    process.send_signal(signal.SIGKILL)  # it has ended: without effect
    await process.stop()


@_TYPES
async def test_its_output_and_environment_are_its_own(
    process_type: type[WorkerProcess], tmp_path: Path
) -> None:
    for name in ("first", "second"):
        path = write_gguf(tmp_path / f"{name}.gguf", tail="DIE")
        process = await process_type.start(COMMAND, "test")
        process.connection.write(encode_frame(Load(str(path), LoadSettings())))
        end = await process.wait()
        assert end.returncode == -signal.SIGABRT
        # Without GGML_NO_BACKTRACE in its environment a stack trace would follow.
        assert end.log_tail == (f"loading {name}.gguf", "GGML_ASSERT(scripted) failed")
        await process.stop()
