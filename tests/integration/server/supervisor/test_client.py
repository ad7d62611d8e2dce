"""The server's side of a worker process, against real processes with a scripted engine."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from server.catalogue.companion_files import CompanionFiles
from server.errors import (
    ApiError,
    ContextOverflowError,
    EngineFailedError,
    InvalidRequestError,
    NotSupportedError,
    UnavailableError,
    WorkerCrashedError,
)
from server.protocol.job import ChatPrompt, Job
from server.protocol.load_settings import LoadSettings
from server.protocol.messages import Submit
from server.protocol.outputs import WireTimings
from server.streams.token_stream import TokenStream
from server.supervisor.client import WorkerClient
from server.supervisor.interface import LoadFailedError
from server.supervisor.launcher import WorkerLauncher
from server.supervisor.pool import WorkerPool
from server.supervisor.process import WorkerExit, WorkerProcess
from tests.support.fake_worker import N_CTX
from tests.support.gguf_files import write_gguf
from tests.support.server_app import COMMAND, pause


@asynccontextmanager
async def _worker(path: Path, progress: list[float] | None = None) -> AsyncIterator[WorkerClient]:
    seen = progress if progress is not None else []
    launcher = WorkerLauncher(WorkerPool(COMMAND), load_timeout=30, files=CompanionFiles(()))
    client = await launcher("m", path, LoadSettings(), seen.append)
    try:
        yield client
    finally:
        await client.stop()


def _submit(client: WorkerClient, text: str, number: int = 0, **more: object) -> TokenStream:
    stream = TokenStream(f"{text}/{number}")
    messages = [{"role": "user", "content": text}]
    job = Job(prompt=ChatPrompt(messages=messages), **more)  # type: ignore[arg-type]
    client.submit(Submit(stream.request_id, job), stream)
    return stream


async def _text(stream: TokenStream) -> str:
    return "".join([piece.text async for piece in stream])


async def _until_idle(client: WorkerClient) -> None:
    async with asyncio.timeout(10):
        while (stats := await client.stats()) is None or stats.running + stats.waiting > 0:
            await pause()


async def test_a_worker_that_sends_invalid_data_and_reads_nothing_is_killed() -> None:
    script = "import os, sys, time; os.write(int(sys.argv[2]), b'\\xff' * 8); time.sleep(600)"
    process = await WorkerProcess.start((sys.executable, "-c", script), "deaf")
    process.connection.write(bytes(8 << 20))
    client = WorkerClient(process, lambda _: None)
    stream = _submit(client, "echo: is anybody there")
    async with asyncio.timeout(30):
        with pytest.raises(WorkerCrashedError, match="invalid protocol data"):
            await stream.next()
        assert (await client.exited).returncode < 0


async def test_a_load_reports_progress_and_the_effective_settings(tmp_path: Path) -> None:
    progress: list[float] = []
    async with _worker(write_gguf(tmp_path / "m.gguf"), progress) as client:
        assert progress == [0.5, 1.0]
        assert client.model.n_ctx == N_CTX
        assert client.model.memory_bytes == 13 << 20
        assert client.pid != os.getpid()


async def test_the_outputs_of_many_requests_reach_their_own_streams(tmp_path: Path) -> None:
    async with _worker(write_gguf(tmp_path / "m.gguf")) as client:
        streams = [_submit(client, f"echo: {n} is {n}") for n in range(20)]
        assert [await _text(stream) for stream in streams] == [f"{n} is {n}" for n in range(20)]
        assert streams[0].usage.prompt == 5
        assert streams[0].usage.completion == 3


async def test_each_output_is_that_of_one_step(tmp_path: Path) -> None:
    async with _worker(write_gguf(tmp_path / "m.gguf")) as client:
        stream = _submit(client, "echo: once upon a time")
        await stream.wait_ended()
        pieces = [piece async for piece in stream]
        assert [piece.text for piece in pieces] == ["once", " upon", " a", " time", ""]
        assert [piece.usage.completion_tokens for piece in pieces] == [1, 2, 3, 4, 4]
        assert pieces[-1].finish_reason == "stop"
        assert pieces[-1].timings == WireTimings(1.0, 10.0, 20.0)


async def test_outputs_that_accumulate_for_a_slow_reader_are_joined(tmp_path: Path) -> None:
    text = " ".join(str(number) for number in range(50))
    async with _worker(write_gguf(tmp_path / "m.gguf")) as client:
        stream = _submit(client, f"echo: {text}")
        await stream.wait_ended()
        piece = await stream.next()
        assert piece is not None
        assert (piece.text, piece.finish_reason) == (text, "stop")


async def test_a_stream_without_outputs_returns_none_after_the_timeout(tmp_path: Path) -> None:
    stream = TokenStream("quiet")
    assert await stream.next(0.001) is None


async def test_cancel_reaches_the_engine_and_frees_it_for_others(tmp_path: Path) -> None:
    async with _worker(write_gguf(tmp_path / "m.gguf")) as client:
        stream = _submit(client, "forever")
        assert await stream.next() is not None
        client.cancel(stream.request_id)
        await _until_idle(client)
        assert await _text(_submit(client, "echo: still here")) == "still here"


async def test_requests_cancelled_at_once_do_not_stay_in_the_engine(tmp_path: Path) -> None:
    async with _worker(write_gguf(tmp_path / "m.gguf")) as client:
        for number in range(50):
            client.cancel(_submit(client, "forever", number).request_id)
        await _until_idle(client)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("refuse", InvalidRequestError, "roles must alternate"),
        ("bug", EngineFailedError, "KeyError"),
    ],
)
async def test_a_refusal_becomes_the_error_of_its_kind(
    tmp_path: Path, text: str, kind: type[ApiError], message: str
) -> None:
    async with _worker(write_gguf(tmp_path / "m.gguf")) as client:
        with pytest.raises(kind, match=message):
            await _submit(client, text).next()


async def test_a_prompt_over_the_context_carries_both_numbers(tmp_path: Path) -> None:
    async with _worker(write_gguf(tmp_path / "m.gguf")) as client:
        with pytest.raises(ContextOverflowError) as caught:
            await _submit(client, f"long {N_CTX}").next()
        assert caught.value.extra == {"n_prompt_tokens": N_CTX, "n_ctx": N_CTX}


async def test_kill_9_fails_every_open_stream_and_names_the_signal(tmp_path: Path) -> None:
    async with _worker(write_gguf(tmp_path / "m.gguf")) as client:
        streams = [_submit(client, "forever", n) for n in range(3)]
        for stream in streams:
            assert await stream.next() is not None
        os.kill(client.pid, signal.SIGKILL)
        for stream in streams:
            with pytest.raises(WorkerCrashedError, match="SIGKILL"):
                await _text(stream)
        end = await client.exited
        assert end.returncode == -signal.SIGKILL
        assert not end.expected
        assert "loading m.gguf" in end.log_tail
        with pytest.raises(WorkerCrashedError):
            await _submit(client, "echo: x").next()


async def test_an_illegal_instruction_is_an_unsupported_cpu_and_is_not_retried(
    tmp_path: Path,
) -> None:
    async with _worker(write_gguf(tmp_path / "m.gguf")) as client:
        stream = _submit(client, "forever")
        stream.may_restart = True
        os.kill(client.pid, signal.SIGILL)
        with pytest.raises(NotSupportedError, match="SIGILL: the native libraries use") as caught:
            await _text(stream)
        assert caught.value.code == "unsupported_cpu"
        assert not stream.restart()


async def test_an_engine_failure_ends_the_process_with_its_reason(tmp_path: Path) -> None:
    async with _worker(write_gguf(tmp_path / "m.gguf")) as client:
        with pytest.raises(WorkerCrashedError, match="RuntimeError: scripted failure"):
            await _text(_submit(client, "break"))
        assert (await client.exited).returncode == 4


async def test_stats_of_a_worker_that_exits_meanwhile_are_none(
    tmp_path: Path,
) -> None:
    async with _worker(write_gguf(tmp_path / "m.gguf")) as client:
        # Stopped, so that it cannot answer before its end.
        os.kill(client.pid, signal.SIGSTOP)
        asking = asyncio.ensure_future(client.stats())
        await asyncio.sleep(0)
        os.kill(client.pid, signal.SIGKILL)
        assert await asking is None
        assert await client.stats() is None


async def test_stop_is_an_expected_exit_and_leaves_no_process(tmp_path: Path) -> None:
    async with _worker(write_gguf(tmp_path / "m.gguf")) as client:
        stream = _submit(client, "forever")
        assert await stream.next() is not None
        await client.stop()
        with pytest.raises(UnavailableError, match="unloaded before"):
            await _text(stream)
        assert await client.exited == WorkerExit(0, client.exited.result().log_tail, expected=True)
        assert not psutil.pid_exists(client.pid)


async def test_a_failed_load_carries_its_reason(tmp_path: Path) -> None:
    with pytest.raises(LoadFailedError) as caught:
        async with _worker(write_gguf(tmp_path / "m.gguf", "FAIL:out_of_memory")):
            pass
    assert caught.value.reason == "out_of_memory"


async def test_a_crash_while_loading_carries_the_last_log_lines(tmp_path: Path) -> None:
    with pytest.raises(LoadFailedError, match="SIGABRT") as caught:
        async with _worker(write_gguf(tmp_path / "m.gguf", "DIE")):
            pass
    assert caught.value.reason == "crashed"
    assert caught.value.log_tail[-1] == "GGML_ASSERT(scripted) failed"


async def test_a_bug_while_loading_is_a_failed_load(tmp_path: Path) -> None:
    with pytest.raises(LoadFailedError, match="KeyError") as caught:
        async with _worker(write_gguf(tmp_path / "m.gguf", "BUG")):
            pass
    assert caught.value.reason == "unknown"


async def test_a_cancelled_load_ends_the_process(tmp_path: Path) -> None:
    loading = asyncio.Event()
    launcher = WorkerLauncher(WorkerPool(COMMAND), load_timeout=30, files=CompanionFiles(()))
    path = write_gguf(tmp_path / "m.gguf", "SLOW")
    task = asyncio.ensure_future(launcher("m", path, LoadSettings(), lambda _: loading.set()))
    await loading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_load_over_its_timeout_fails(tmp_path: Path) -> None:
    launcher = WorkerLauncher(WorkerPool(COMMAND), load_timeout=0.5, files=CompanionFiles(()))
    path = write_gguf(tmp_path / "m.gguf", "SLOW")
    with pytest.raises(LoadFailedError, match=r"longer than 0\.5 seconds"):
        await launcher("m", path, LoadSettings(), lambda _: None)


async def test_a_command_that_does_not_exist_is_a_failed_load(tmp_path: Path) -> None:
    launcher = WorkerLauncher(
        WorkerPool([str(tmp_path / "nothing")]), load_timeout=5, files=CompanionFiles(())
    )
    with pytest.raises(LoadFailedError, match="no worker process can be started"):
        await launcher("m", tmp_path, LoadSettings(), lambda _: None)


async def test_a_worker_that_sends_invalid_data_is_a_failed_load(tmp_path: Path) -> None:
    script = "import socket,sys; socket.socket(fileno=int(sys.argv[-1])).sendall(b'\\xff' * 9)"
    launcher = WorkerLauncher(
        WorkerPool([sys.executable, "-c", script]), load_timeout=30, files=CompanionFiles(())
    )
    with pytest.raises(LoadFailedError, match="invalid protocol data"):
        await launcher("m", tmp_path, LoadSettings(), lambda _: None)
