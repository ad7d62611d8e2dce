"""Callers: relays of an ingress that has ended are cancelled, others are not."""

import asyncio

from server.cluster.callers import Callers


async def test_relays_of_a_caller_that_has_ended_are_cancelled() -> None:
    alive = {"one", "two"}
    callers = Callers(lambda name: name in alive, period=0.01)
    watch = asyncio.create_task(callers.watch())

    async def relay(caller: str) -> None:
        with callers.relaying(caller):
            await asyncio.Event().wait()

    lost = [asyncio.create_task(relay("one")) for _ in range(2)]
    other = asyncio.create_task(relay("two"))
    await asyncio.sleep(0)
    alive.remove("one")
    async with asyncio.timeout(30):
        await asyncio.wait(lost)
    assert all(task.cancelled() for task in lost)
    assert not other.done()
    assert set(callers._relays) == {"two"}
    for task in (other, watch):
        task.cancel()
    await asyncio.gather(other, watch, return_exceptions=True)
    assert not callers._relays
