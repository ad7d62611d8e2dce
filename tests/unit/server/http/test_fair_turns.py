"""FairTurns: a few requests in each iteration of the event loop, each caller's in turn."""

import asyncio
import itertools

import pytest

from server.http.fair_turns import FairTurns


class _Crowd:
    """Requests that record the order of their turns."""

    def __init__(self, turns: FairTurns) -> None:
        self._turns = turns
        self.order: list[str] = []

    async def request(self, caller: str) -> None:
        await self._turns.wait(caller)
        self.order.append(caller)


async def test_free_turns_are_taken_without_waiting() -> None:
    turns = FairTurns(2, pause_seconds=1000.0)
    await turns.wait("a")
    await turns.wait("a")
    third = asyncio.ensure_future(turns.wait("a"))
    await asyncio.sleep(0)
    assert turns.n_waiting == 1
    third.cancel()
    await asyncio.wait([third])


async def test_a_few_turns_are_granted_in_each_iteration_of_the_loop() -> None:
    crowd = _Crowd(FairTurns(3))
    tasks = [asyncio.ensure_future(crowd.request("a")) for _ in range(30)]
    counts = [0]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        counts.append(len(crowd.order))
    steps = [after - before for before, after in itertools.pairwise(counts)]
    assert sum(steps) == 30
    assert max(steps) == 3


async def test_callers_alternate_whatever_number_of_requests_they_have() -> None:
    crowd = _Crowd(FairTurns(1))
    callers = ["a"] * 6 + ["b"] * 2 + ["c"]
    await asyncio.gather(*(crowd.request(caller) for caller in callers))
    assert crowd.order == ["a", *"abc", *"ab", "a", "a", "a"]


async def test_a_cancelled_request_takes_no_turn() -> None:
    crowd = _Crowd(FairTurns(1))
    tasks = [asyncio.ensure_future(crowd.request(caller)) for caller in "aabb"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[2].cancel()
    await asyncio.wait(tasks)
    assert crowd.order == ["a", "b"]


@pytest.mark.parametrize("pause_seconds", [0.0, 0.001])
async def test_turns_are_free_again_after_a_pause(pause_seconds: float) -> None:
    turns = FairTurns(1, pause_seconds)
    for _ in range(3):
        await turns.wait("a")
    assert turns.n_waiting == 0
