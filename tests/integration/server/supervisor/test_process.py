"""WorkerProcess: whatever happens while it starts, no child stays behind."""

import asyncio
import contextlib

import psutil
import pytest

from server.supervisor.process import WorkerProcess

_SLEEPER = ("sh", "-c", "exec sleep 600")


@pytest.mark.parametrize("n_turns", [0, 1, 2, 3, 5, 8])
async def test_a_start_that_is_cancelled_leaves_no_child(n_turns: int) -> None:
    before = set(psutil.Process().children())
    start = asyncio.create_task(WorkerProcess.start(_SLEEPER, "test"))
    for _ in range(n_turns):
        await asyncio.sleep(0)
    start.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await (await start).stop()
    assert set(psutil.Process().children()) <= before


async def test_cancelled_while_it_connects_it_kills_its_child(
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
async def test_a_worker_asks_for_huge_pages_unless_the_user_decided_that(
    monkeypatch: pytest.MonkeyPatch, given: str, expected: str
) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", given)
    process = await WorkerProcess.start(("sh", "-c", "echo $GLIBC_TUNABLES"), "test")
    assert (await process.wait()).log_tail == (expected,)
    await process.stop()
