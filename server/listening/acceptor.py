"""Acceptor: accepts connections, and answers 503 where the limit or the descriptors are used up.

asyncio's own servers accept up to 512 connections before any of them is served. When descriptors
run out they log a traceback for each of these, stop accepting for a second, and start over.
"""

import asyncio
import errno
import logging
import os
import select
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

from aiohttp import web

from server.listening.departure import is_abandoned

logger = logging.getLogger(__name__)

_AT_ONCE = 16
"""Connections opened before the event loop runs others' callbacks; each takes 0.2 ms or more."""

_CLOSED_AT_ONCE = 256
"""Connections whose clients have gone, closed before the event loop runs others' callbacks."""

_TLS_REFUSALS = 16
"""Clients above the limit whose TLS handshake is awaited at once, so that they can read the 503."""

_PAUSE_SECONDS = 0.5
_LOG_SECONDS = 30.0
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
_NO_MEMORY = (errno.ENOBUFS, errno.ENOMEM)

_BODY = (
    b'{"error":{"message":"the server has too many open connections; retry in 1 s, or raise '
    b'--max-connections","type":"unavailable_error","param":null,"code":"too_many_connections"}}'
)
TOO_MANY_CONNECTIONS = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class Acceptor:
    """Accepts connections of listening sockets for a web.Server. Event loop only."""

    def __init__(
        self,
        server: web.Server,
        listeners: Sequence[socket.socket],
        limit: int,
        context: ssl.SSLContext | None,
    ) -> None:
        self.sockets = tuple(listeners)
        self._server = server
        self._limit = limit
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._reserve = _Reserve()
        self._is_closed = False
        self._refused = 0
        self._logged_at = -_LOG_SECONDS

    def start(self) -> None:
        """Begin to accept."""
        for listener in self.sockets:
            self._resume(listener)

    def close(self) -> None:
        """Close the listening sockets, and the connections that are not yet open."""
        self._is_closed = True
        for listener in self.sockets:
            self._loop.remove_reader(listener)
            listener.close()
        for task in self._opening:
            task.cancel()
        self._reserve.close()

    # -- accepting

    def _resume(self, listener: socket.socket) -> None:
        if not self._is_closed:
            self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        n_opened = 0
        for _ in range(_CLOSED_AT_ONCE):
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Without a free descriptor accept fails even if no client waits.
                if not _somebody_waits(listener):
                    return
                if error.errno in _NO_DESCRIPTORS and self._refuse_from_reserve(listener):
                    continue
                if error.errno in _NO_DESCRIPTORS + _NO_MEMORY:
                    self._pause(listener)
                    return
                raise
            if is_abandoned(connection, is_tls=self._context is not None):
                connection.close()
                continue
            self._open_or_refuse(connection)
            n_opened += 1
            if n_opened == _AT_ONCE:
                return

    def _open_or_refuse(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        n_open = len(self._server.connections) + len(self._opening)
        # Above the limit, the Connection of a TLS client sends the 503 after the handshake.
        margin = _TLS_REFUSALS if self._context else 0
        if n_open >= self._limit + margin:
            _refuse(connection, is_tls=self._context is not None)
            return
        task = self._loop.create_task(self._open(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._server, connection, ssl=self._context)
        except OSError as error:
            # The client's fault, such as a failed TLS handshake; asyncio has closed the socket.
            logger.debug("a connection could not be opened: %s", error)

    # -- without descriptors

    def _refuse_from_reserve(self, listener: socket.socket) -> bool:
        """Answer one client with the descriptor in reserve; False if there is none."""
        self._log_shortage()
        return self._reserve.lend(lambda: self._refuse_one(listener))

    def _refuse_one(self, listener: socket.socket) -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            connection.setblocking(False)
            _refuse(connection, is_tls=self._context is not None)
            self._refused += 1

    def _pause(self, listener: socket.socket) -> None:
        """Stop accepting for a moment: the listener stays readable, and would keep the CPU busy."""
        self._log_shortage()
        self._loop.remove_reader(listener)
        self._loop.call_later(_PAUSE_SECONDS, self._resume, listener)

    def _log_shortage(self) -> None:
        now = self._loop.time()
        if now - self._logged_at < _LOG_SECONDS:
            return
        self._logged_at = now
        logger.warning(
            "no file descriptor is left for a new connection (%d were refused with 503 since the "
            "start); raise the limit (ulimit -n) or lower --max-connections",
            self._refused,
        )


class _Reserve:
    """A file descriptor that is kept for answering one client when no other is left."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._take()

    def lend(self, use: Callable[[], None]) -> bool:
        """Call `use` with one more descriptor free; False if none is in reserve."""
        if self._descriptor is None:
            self._take()
        if self._descriptor is None:
            return False
        self.close()
        use()
        self._take()
        return True

    def close(self) -> None:
        """Give the descriptor back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _take(self) -> None:
        with suppress(OSError):
            self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _somebody_waits(listener: socket.socket) -> bool:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))


def _refuse(connection: socket.socket, *, is_tls: bool) -> None:
    """Answer 503 and close; a TLS client gets no answer, for which it would need a handshake."""
    with connection, suppress(OSError):
        if not is_tls:
            connection.send(TOO_MANY_CONNECTIONS)
            connection.shutdown(socket.SHUT_WR)
            # Closing with unread bytes would reset the connection before the client reads the 503.
            connection.recv(1 << 16)
