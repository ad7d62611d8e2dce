"""Callers: ends the relays of ingress processes that have ended, which Ray leaves running."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

_PERIOD_SECONDS: Final = 5.0


class Callers:
    """The running relays by the ingress process that asked for them. Event loop only.

    Ray cancels a relay whose client disconnects. If the ingress process itself ends, nothing asks
    for the rest of the answer, and nothing would cancel it: it would keep its slot to its end.
    """

    def __init__(self, is_alive: Callable[[str], bool], period: float = _PERIOD_SECONDS) -> None:
        """`is_alive` may block; it gets a caller's name, and is asked every `period` seconds."""
        self._is_alive = is_alive
        self._period = period
        self._relays: defaultdict[str, set[asyncio.Task[Any]]] = defaultdict(set)

    @contextmanager
    def relaying(self, caller: str) -> Iterator[None]:
        """The current task relays an answer to `caller`; it is cancelled if the caller ends."""
        task = asyncio.current_task()
        assert task is not None
        self._relays[caller].add(task)
        try:
            yield
        finally:
            self._relays[caller].discard(task)
            if not self._relays[caller]:
                del self._relays[caller]

    async def watch(self) -> None:
        """Cancel the relays of callers that have ended. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(self._period)
            for caller in tuple(self._relays):
                if not await asyncio.to_thread(self._is_alive, caller):
                    for task in tuple(self._relays.get(caller, ())):
                        task.cancel()
