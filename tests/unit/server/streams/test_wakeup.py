"""Wakeup: a reader gets every notification and waits no longer than its timeout."""

import asyncio
import weakref

import pytest

from server.streams.wakeup import Wakeup


async def test_a_notification_before_the_wait_counts_once() -> None:
    wakeup = Wakeup()
    wakeup.notify()
    wakeup.notify()
    assert await wakeup.wait()
    assert not await wakeup.wait(0.001)


async def test_a_notification_ends_a_wait_with_and_without_timeout() -> None:
    wakeup = Wakeup()
    for timeout_seconds in (None, 60.0):
        waiting = asyncio.create_task(wakeup.wait(timeout_seconds))
        await asyncio.sleep(0)
        wakeup.notify()
        wakeup.notify()
        assert await waiting
    assert not await wakeup.wait(0.001), "both notifications were for the wait that they ended"


async def test_each_wait_has_its_own_timeout() -> None:
    wakeup = Wakeup()
    loop = asyncio.get_running_loop()
    for timeout_seconds in (0.05, 0.01, 0.08):
        begun = loop.time()
        assert not await wakeup.wait(timeout_seconds)
        assert loop.time() - begun >= timeout_seconds


async def test_a_later_wait_is_not_cut_short_by_the_timer_of_an_earlier_one() -> None:
    wakeup = Wakeup()
    wakeup.notify()
    loop = asyncio.get_running_loop()
    earlier = asyncio.create_task(wakeup.wait(0.03))
    await earlier
    # Long enough for a busy machine, on which a sleep may last longer than it was asked to.
    waiting = asyncio.create_task(wakeup.wait(60))
    await asyncio.sleep(0.06)
    assert not waiting.done()
    wakeup.notify()
    assert await waiting
    begun = loop.time()
    assert not await wakeup.wait(0.05)
    assert loop.time() - begun >= 0.05


async def test_a_wait_without_timeout_outlives_the_timer_of_an_earlier_wait() -> None:
    wakeup = Wakeup()
    earlier = asyncio.create_task(wakeup.wait(0.01))
    await asyncio.sleep(0)
    wakeup.notify()
    assert await earlier
    endless = asyncio.create_task(wakeup.wait())
    await asyncio.sleep(0.03)
    assert not endless.done()
    wakeup.notify()
    assert await endless


async def test_a_cancelled_wait_loses_no_notification() -> None:
    wakeup = Wakeup()
    waiting = asyncio.create_task(wakeup.wait(60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    wakeup.notify()
    assert await wakeup.wait()


async def test_a_timer_does_not_keep_a_wakeup_for_the_whole_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wakeup = Wakeup()
    kept = weakref.ref(wakeup)
    monkeypatch.setattr("server.streams.wakeup._LONGEST_TIMER", 0.01)
    waiting = asyncio.create_task(wakeup.wait(1e6))
    await asyncio.sleep(0.03)
    assert not waiting.done()
    wakeup.notify()
    assert await waiting
    del wakeup, waiting
    await asyncio.sleep(0.03)
    assert kept() is None


async def test_a_shared_wakeup_gets_the_notifications_of_each_of_its_wakeups() -> None:
    shared = Wakeup()
    first, second = Wakeup(shared), Wakeup(shared)
    for wakeup in (first, second):
        waiting = asyncio.create_task(shared.wait(60))
        await asyncio.sleep(0)
        wakeup.notify()
        assert await waiting
        assert await wakeup.wait()
    assert not await first.wait(0.001)


async def test_waits_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    wakeup = Wakeup()
    loop = asyncio.get_running_loop()
    made: list[float] = []
    call_at = loop.call_at

    def counted(when: float, *arguments: object, **more: object) -> asyncio.TimerHandle:
        made.append(when)
        return call_at(when, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_at", counted)
    for _ in range(100):
        waiting = asyncio.create_task(wakeup.wait(60))
        await asyncio.sleep(0)
        wakeup.notify()
        assert await waiting
    assert len(made) == 1
