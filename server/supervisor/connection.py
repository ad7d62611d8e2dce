"""WorkerConnection: the server's end of a worker's socket."""

import asyncio
from collections.abc import Callable
from typing import cast

_READ_BYTES = 1 << 16


class WorkerConnection(asyncio.BufferedProtocol):
    """Passes received bytes to a listener within the callback of the event loop. Event loop only.

    An asyncio.StreamReader would wake a task for each token; this way the token reaches its
    handler one iteration of the loop earlier. Bytes that arrive before `listen` are kept. `closed`
    is done once nothing more will be received, even if there are bytes left to write; otherwise a
    worker that does not read would delay it forever.
    """

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._early: list[bytes] = []
        self._listener: Callable[[bytes], None] | None = None
        self._transport: asyncio.Transport | None = None

    def listen(self, listener: Callable[[bytes], None]) -> None:
        """Call `listener` with all bytes: those that were kept now, later ones as they arrive."""
        self._listener = listener
        early, self._early = self._early, []
        for data in early:
            listener(data)

    @property
    def is_closing(self) -> bool:
        """Whether the connection is closed for writing."""
        return self._transport is None or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send `data`; does nothing after the worker's end, which `closed` reports."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Close the socket, which makes the worker exit; nothing more is received."""
        if self._transport is not None:
            self._transport.close()
        self._end_reading()

    # -- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """The buffer that the loop receives into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on `nbytes` received bytes."""
        data = bytes(self._buffer[:nbytes])
        if self._listener is None:
            self._early.append(data)
        else:
            self._listener(data)

    def eof_received(self) -> None:
        """The worker closed its end; the transport then closes this one."""
        self._end_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The worker has exited, or the server closed the socket."""
        self._end_reading()

    def _end_reading(self) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
