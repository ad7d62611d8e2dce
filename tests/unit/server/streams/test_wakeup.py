"""Bell: who waits hears every ring, and no longer waits than it has patience."""

import asyncio
import weakref

import pytest

from server.streams.wakeup import Wakeup


async def test_a_ring_before_the_wait_is_heard_once() -> None:
    wakeup = Wakeup()
    wakeup.ring()
    wakeup.ring()
    assert await wakeup.wait()
    assert not await wakeup.wait(0.001)


async def test_a_ring_ends_a_wait_with_and_without_patience() -> None:
    wakeup = Wakeup()
    for patience in (None, 60.0):
        waiting = asyncio.create_task(wakeup.wait(patience))
        await asyncio.sleep(0)
        wakeup.ring()
        wakeup.ring()
        assert await waiting
    assert not await wakeup.wait(0.001), "both rings were for the wait they ended"


async def test_each_wait_has_the_patience_it_was_given() -> None:
    wakeup = Wakeup()
    loop = asyncio.get_running_loop()
    for patience in (0.05, 0.01, 0.08):
        begun = loop.time()
        assert not await wakeup.wait(patience)
        assert loop.time() - begun >= patience


async def test_a_later_wait_is_not_cut_short_by_the_timer_of_an_earlier_one() -> None:
    wakeup = Wakeup()
    wakeup.ring()
    loop = asyncio.get_running_loop()
    earlier = asyncio.create_task(wakeup.wait(0.03))
    await earlier
    waiting = asyncio.create_task(wakeup.wait(0.03))
    await asyncio.sleep(0.02)
    wakeup.ring()
    assert await waiting
    begun = loop.time()
    assert not await wakeup.wait(0.05)
    assert loop.time() - begun >= 0.05


async def test_a_wait_without_end_outlives_the_timer_of_an_impatient_one() -> None:
    wakeup = Wakeup()
    impatient = asyncio.create_task(wakeup.wait(0.01))
    await asyncio.sleep(0)
    wakeup.ring()
    assert await impatient
    endless = asyncio.create_task(wakeup.wait())
    await asyncio.sleep(0.03)
    assert not endless.done()
    wakeup.ring()
    assert await endless


async def test_a_reader_that_leaves_loses_no_ring() -> None:
    wakeup = Wakeup()
    waiting = asyncio.create_task(wakeup.wait(60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    wakeup.ring()
    assert await wakeup.wait()


async def test_a_bell_is_not_kept_for_as_long_as_its_reader_would_have_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wakeup = Wakeup()
    kept = weakref.ref(wakeup)
    monkeypatch.setattr("server.streams.wakeup._LONGEST_TIMER", 0.01)
    waiting = asyncio.create_task(wakeup.wait(1e6))
    await asyncio.sleep(0.03)
    assert not waiting.done()
    wakeup.ring()
    assert await waiting
    del wakeup, waiting
    await asyncio.sleep(0.03)
    assert kept() is None


async def test_who_waits_for_several_bells_hears_each_and_takes_nothing_from_their_readers() -> (
    None
):
    shared = Wakeup()
    first, second = Wakeup(shared), Wakeup(shared)
    for wakeup in (first, second):
        waiting = asyncio.create_task(shared.wait(60))
        await asyncio.sleep(0)
        wakeup.ring()
        assert await waiting
        assert await wakeup.wait()
    assert not await first.wait(0.001)


async def test_a_token_costs_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
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
        wakeup.ring()
        assert await waiting
    assert len(made) == 1
