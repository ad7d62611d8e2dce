"""BodyMemory: bounds the memory of all request bodies together, shared among the callers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

SMALL_BYTES: Final = 1 << 16
"""Bodies up to this size are not counted, so that large ones never delay them."""


class BodyMemory:
    """The bytes of the bodies that are being received or answered. Event loop only."""

    def __init__(self, limit: int) -> None:
        """`limit` is in bytes; one caller may hold half of it, or one body of any size."""
        self._limit = limit
        self._held: Counter[str] = Counter()
        self._waiters: set[asyncio.Future[None]] = set()

    @asynccontextmanager
    async def reserve(self, n_bytes: int, caller: str) -> AsyncIterator["Reservation"]:
        """Hold `n_bytes` for one body of `caller`; waits until other bodies have freed enough."""
        reservation = Reservation(self, n_bytes if n_bytes > SMALL_BYTES else 0, caller)
        while not self._fits(reservation):
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
        self._held[caller] += reservation.n_bytes
        try:
            yield reservation
        finally:
            reservation.shrink(0)

    def free(self, n_bytes: int, caller: str) -> None:
        """Take back part of a reservation, and let waiting ones try again."""
        self._held[caller] -= n_bytes
        if not self._held[caller]:
            del self._held[caller]
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _fits(self, reservation: "Reservation") -> bool:
        wanted, own, total = reservation.n_bytes, self._held[reservation.caller], self._held.total()
        is_in_share = not own or own + wanted <= self._limit // 2
        return not wanted or (is_in_share and (not total or total + wanted <= self._limit))


class Reservation:
    """The memory that is held for one body."""

    def __init__(self, memory: BodyMemory, n_bytes: int, caller: str) -> None:
        self._memory = memory
        self.n_bytes = n_bytes
        self.caller = caller

    def shrink(self, n_bytes: int) -> None:
        """Give back all but `n_bytes`."""
        if n_bytes < self.n_bytes:
            freed, self.n_bytes = self.n_bytes - n_bytes, n_bytes
            self._memory.free(freed, self.caller)
