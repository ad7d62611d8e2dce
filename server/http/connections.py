"""Connections: limits their number, and answers in JSON even where no request could be parsed."""

import asyncio
import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from server.config import ServerConfig
from server.errors import ApiError
from server.http.access_log import AccessLogger
from server.http.body.chunks import READ_BUFFER_BYTES, chunk_turns, discard
from server.http.fair_turns import FairTurns
from server.http.middleware import error_reply, http_error
from server.listening.acceptor import TOO_MANY_CONNECTIONS
from server.listening.departure import has_gone, may_have_more_to_read

logger = logging.getLogger(__name__)
# After an answer that did not read the request's body, the rest of it is read and dropped for this
# long, so that a client that is still sending gets the answer.
_LINGER_SECONDS = 1.0
# Received at a time, in place of asyncio's 256 kB: aiohttp parses what it received without pause.
_RECEIVED_BYTES = 1 << 15
# Seconds between looks whether a client that has closed its end for writing has gone: a reset takes
# a round trip through the network. The last one is repeated.
_LOOKS = (0.0, 0.01, 0.05, 0.25, 1.0)


class Connection(RequestHandler):
    """One client's connection: aiohttp's, with errors in JSON; the one above the limit gets 503."""

    def __init__(self, manager: web.Server, limit: int, turns: FairTurns, **options: Any) -> None:
        """`turns` are those of bodies that are discarded."""
        super().__init__(manager, **options)
        self._turns = turns
        self._is_over_limit = len(manager.connections) >= limit
        self._gets_no_more = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve the connection, or answer 503 and close it if it is above the limit."""
        if self._is_over_limit and isinstance(transport, asyncio.WriteTransport):
            transport.write(TOO_MANY_CONNECTIONS)
            transport.close()
        else:
            if hasattr(transport, "max_size"):
                transport.max_size = _RECEIVED_BYTES
            super().connection_made(transport)

    def eof_received(self) -> bool:  # type: ignore[override] # asyncio's type, narrower in aiohttp
        """Keep the connection for answers if its client has closed its end for writing only."""
        if self._gets_no_more:
            return True
        if self._is_idle() or not may_have_more_to_read(self.transport):
            return False
        self._gets_no_more = True
        self._look_after_client(0)
        return True

    def _is_idle(self) -> bool:
        return self._waiter is not None and not self._messages

    def _look_after_client(self, n_looks: int) -> None:
        """Close the connection once its client has gone; asyncio does not read from it any more."""
        transport, request = self.transport, self._current_request
        if transport is None or transport.is_closing():
            return
        if self._is_idle():
            transport.close()
            return
        if request is not None:
            if not request.content.is_eof() or has_gone(request):
                transport.abort()
                return
            n_looks += 1
        seconds = _LOOKS[min(n_looks, len(_LOOKS) - 1)]
        self._loop.call_later(seconds, self._look_after_client, n_looks)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to bytes that aiohttp could not parse, or to a bug outside of the handlers."""
        if isinstance(exc, HttpProcessingError):
            # The message repeats the client's bytes: it goes to the client, but not into the log.
            logger.debug("invalid HTTP from %s: %s", request.remote, type(exc).__name__)
            error = http_error(status, _first_line(message))
        else:
            logger.error("the connection from %s failed", request.remote, exc_info=exc)
            error = ApiError("internal error, see the server's log")
        if request.writer.output_size > 0:
            raise ConnectionError("part of the answer has already been sent")
        response = error_reply(error)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log malformed requests at debug level only, so that clients cannot fill the log."""
        if isinstance(kw.get("exc_info"), (HttpProcessingError, web.RequestPayloadError)):
            logger.debug(*args)
        else:
            super().log_exception(*args, **kw)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; HTTP errors that aiohttp raised before the middlewares become JSON."""
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            resp = error_reply(http_error(resp.status, resp.reason))
        answer = await super().finish_response(request, resp, start_time)
        if not request.content.is_eof():
            await discard(request.content, _LINGER_SECONDS, self._turns, request.remote or "")
        if self._gets_no_more and not self._messages:
            self.close()
        return answer


class ConnectionServer(web.Server):
    """Makes a Connection for every client and passes it the limit."""

    def __init__(self, inner: web.Server, config: ServerConfig) -> None:
        super().__init__(
            inner.request_handler,
            request_factory=inner.request_factory,
            # Without it a disconnect is noticed only at the next write.
            handler_cancellation=True,
        )
        self._limit = config.max_connections
        self._turns = chunk_turns()
        self._options: dict[str, Any] = {
            # Also the time limit for receiving a request's headers.
            "keepalive_timeout": config.keepalive_seconds,
            "access_log": logging.getLogger("server.http.access") if config.access_log else None,
            "access_log_class": AccessLogger,
            # bodies.py decompresses instead: aiohttp would do it on the event loop and without a
            # limit, even for bodies that are discarded after a refusal.
            "auto_decompress": False,
            # finish_response() discards bodies instead, as slowly as bodies are read.
            "lingering_time": 0.0,
            "read_bufsize": READ_BUFFER_BYTES,
        }

    def __call__(self) -> RequestHandler:
        """The protocol of one new connection."""
        return Connection(self, self._limit, self._turns, loop=self._loop, **self._options)


class ConnectionRunner(web.AppRunner):
    """An AppRunner whose connections are Connection objects."""

    def __init__(self, app: web.Application, config: ServerConfig, shutdown_timeout: float) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout)
        self._config = config

    async def _make_server(self) -> web.Server:
        return ConnectionServer(await super()._make_server(), self._config)


def _first_line(message: str | None) -> str:
    """The first line of aiohttp's parser error; further lines repeat the bytes."""
    return (message or "this is not an HTTP request").strip().partition("\n")[0].rstrip(":")
