"""The memory of all request bodies together."""

import asyncio

import pytest

from server.http.body.body_memory import SMALL_BYTES, BodyMemory

_BODY = SMALL_BYTES + 1
_LIMIT = 4 * _BODY


class Bodies:
    """Requests that hold their body until they are told to end."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self.held: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(self, name: str, caller: str, n_bytes: int = _BODY, after: int = -1) -> None:
        """Start a request, whose body shrinks to `after` bytes, and let it run."""
        self.ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._hold(name, caller, n_bytes, after))
        await _settle()

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.tasks[name]
        await _settle()

    async def _hold(self, name: str, caller: str, n_bytes: int, after: int) -> None:
        async with self._memory.reserve(n_bytes, caller) as held:
            if after >= 0:
                held.shrink(after)
            self.held.append(name)
            await self.ends[name].wait()


async def _settle() -> None:
    """Let all requests go as far as they can; none of them waits for time."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_caller_holds_half_and_others_find_memory() -> None:
    bodies = Bodies(BodyMemory(_LIMIT))
    for name in ("1", "2", "3"):
        await bodies.begin(name, "greedy")
    await bodies.begin("other", "modest")
    assert bodies.held == ["1", "2", "other"]
    await bodies.end("1")
    assert bodies.held == ["1", "2", "other", "3"]


async def test_all_callers_together_stay_within_the_limit() -> None:
    bodies = Bodies(BodyMemory(_LIMIT))
    for n in range(6):
        await bodies.begin(str(n), f"caller-{n}")
    assert bodies.held == ["0", "1", "2", "3"]
    await bodies.end("2")
    assert len(bodies.held) == 5


async def test_a_small_body_never_waits() -> None:
    bodies = Bodies(BodyMemory(_LIMIT))
    await bodies.begin("large", "a", 100 * _LIMIT)
    await bodies.begin("small", "a", SMALL_BYTES)
    assert bodies.held == ["large", "small"]


async def test_a_body_that_turns_out_smaller_frees_the_rest() -> None:
    bodies = Bodies(BodyMemory(_LIMIT))
    await bodies.begin("chunked", "a", _LIMIT, after=10)
    await bodies.begin("next", "b")
    assert bodies.held == ["chunked", "next"]


async def test_a_waiting_client_that_disconnects_frees_what_it_waited_for() -> None:
    memory = BodyMemory(_LIMIT)
    bodies = Bodies(memory)
    await bodies.begin("first", "a", _LIMIT)
    await bodies.begin("gone", "a", _LIMIT)
    bodies.tasks["gone"].cancel()
    with pytest.raises(asyncio.CancelledError):
        await bodies.tasks["gone"]
    await bodies.end("first")
    await bodies.begin("next", "b", _LIMIT)
    assert bodies.held == ["first", "next"]
