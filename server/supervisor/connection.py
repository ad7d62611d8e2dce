"""WorkerConnection: our end of a worker's socket."""

import asyncio
from collections.abc import Callable
from typing import cast

_READ_BYTES = 1 << 16


class WorkerConnection(asyncio.BufferedProtocol):
    """Hands on what comes in the very call in which it came. Loop only.

    A stream reader would wake a task for each token; here the token is with its request's handler
    one turn of the loop earlier. What comes before anybody listens is kept. `closed` is done once
    nothing more will be heard, whatever is still to be written: a worker that reads nothing would
    hold it up for ever.
    """

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._early: list[bytes] = []
        self._listener: Callable[[bytes], None] | None = None
        self._transport: asyncio.Transport | None = None

    def listen(self, listener: Callable[[bytes], None]) -> None:
        """Have `listener` called with all that comes, and now with what came before."""
        self._listener = listener
        early, self._early = self._early, []
        for data in early:
            listener(data)

    @property
    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return self._transport is None or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send `data`. A worker that is gone is noticed by `closed`; writing to it is harmless."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Hear nothing more, and let the worker know."""
        if self._transport is not None:
            self._transport.close()
        self._hear_no_more()

    # -- the loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio asks so
        """Where the loop puts what comes next."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Something came."""
        data = bytes(self._buffer[:nbytes])
        if self._listener is None:
            self._early.append(data)
        else:
            self._listener(data)

    def eof_received(self) -> None:
        """The worker closed its end; the transport closes ours."""
        self._hear_no_more()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - it is gone anyway
        """The worker is gone, or we closed."""
        self._hear_no_more()

    def _hear_no_more(self) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
