"""Leases: the requests that use a model, and how long and how fast it worked for them."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from server.models.clock import Clock
from server.streams.token_stream import TokenStream


class Leases:
    """The leases and waiters of one model. Event loop only."""

    def __init__(self, clock: Clock, publish: Callable[[], None]) -> None:
        """`publish` is called when the model comes into use and when it becomes idle."""
        self._clock = clock
        self._publish = publish
        self._streams: set[TokenStream] = set()
        self._claims = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._n_tokens = 0
        self._busy_seconds = 0.0
        self._busy_since = 0.0
        self.last_used = clock.now()

    @property
    def n_requests(self) -> int:
        """Number of requests that hold a lease."""
        return len(self._streams)

    @property
    def is_idle(self) -> bool:
        """True if there are no active requests and no waiters."""
        return not self._streams and not self._claims

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last use; 0 while the model is in use."""
        return self._clock.now() - self.last_used if self.is_idle else 0.0

    @property
    def tokens_processed(self) -> int:
        """Tokens of all prompts and answers, running requests included."""
        return self._n_tokens + sum(stream.usage.total for stream in self._streams)

    @property
    def average_speed(self) -> float:
        """Tokens per second, over the time in which at least one request ran."""
        busy = self._busy_seconds
        if self._streams:
            busy += self._clock.now() - self._busy_since
        return round(self.tokens_processed / busy, 1) if busy > 0 else 0.0

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Count a waiter, so that the model is not evicted between its load and the lease.

        A drain does not wait for claims.
        """
        self._claims += 1
        try:
            yield
        finally:
            self._claims -= 1
            if self.is_idle:
                self._publish()

    def acquire(self, stream: TokenStream) -> None:
        """Add a request's lease."""
        self._streams.add(stream)
        self.touch()
        if len(self._streams) == 1:
            self._busy_since = self.last_used
            self._idle.clear()
            self._publish()

    def release(self, stream: TokenStream) -> None:
        """Remove a request's lease and add up its tokens."""
        self._streams.remove(stream)
        self._n_tokens += stream.usage.total
        self.touch()
        if not self._streams:
            self._busy_seconds += self.last_used - self._busy_since
            self._idle.set()
            self._publish()

    def touch(self) -> None:
        """Count this moment as a use: idle time begins again."""
        self.last_used = self._clock.now()

    async def wait_idle(self) -> None:
        """Returns when no request holds a lease."""
        await self._idle.wait()
