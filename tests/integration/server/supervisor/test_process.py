"""WorkerProcess: cancelled starts, huge pages, and the exit of a worker with a failed thread."""

import asyncio
import contextlib
import socket
import subprocess
import sys

import psutil
import pytest

from server.protocol.framing import encode_frame
from server.protocol.load_settings import LoadSettings
from server.protocol.loading import Load
from server.supervisor.process import WorkerProcess
from server.worker.session.session import EXIT_THREAD_DIED

_SLEEPER = ("sh", "-c", "exec sleep 600")


@pytest.mark.parametrize("n_iterations", [0, 1, 2, 3, 5, 8])
async def test_a_start_that_is_cancelled_leaves_no_child(n_iterations: int) -> None:
    before = set(psutil.Process().children())
    start = asyncio.create_task(WorkerProcess.start(_SLEEPER, "test"))
    for _ in range(n_iterations):
        await asyncio.sleep(0)
    start.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await (await start).stop()
    assert set(psutil.Process().children()) <= before


async def test_a_start_cancelled_while_it_connects_kills_its_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = set(psutil.Process().children())
    connecting = asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        connecting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    start = asyncio.create_task(WorkerProcess.start(_SLEEPER, "test"))
    await connecting.wait()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert set(psutil.Process().children()) <= before


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.check=0:", "glibc.malloc.check=0:glibc.malloc.hugetlb=1"),
        ("glibc.malloc.hugetlb=0", "glibc.malloc.hugetlb=0"),
    ],
)
async def test_a_worker_requests_huge_pages_unless_the_user_set_them(
    monkeypatch: pytest.MonkeyPatch, given: str, expected: str
) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", given)
    process = await WorkerProcess.start(("sh", "-c", "echo $GLIBC_TUNABLES"), "test")
    assert (await process.wait()).log_tail == (expected,)
    await process.stop()


def test_a_worker_exits_after_an_uncaught_exception_in_a_thread() -> None:
    code = (
        "import socket, sys\n"
        "from server.worker.session import session\n"
        "session.Intake._load = lambda self, message: 1 / 0\n"
        "session.serve(socket.socket(fileno=int(sys.argv[1])), None, None)\n"
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(encode_frame(Load("m.gguf", LoadSettings())))
        done = subprocess.run(
            [sys.executable, "-c", code, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == EXIT_THREAD_DIED, done.stderr
    assert "ZeroDivisionError" in done.stderr
