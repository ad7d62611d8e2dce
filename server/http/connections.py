"""Connections: how many, and that even what never becomes a request is answered in JSON."""

import asyncio
import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from server.config import ServerConfig
from server.errors import ApiError
from server.http.access_log import AccessLogger
from server.http.middleware import error_reply, http_error

logger = logging.getLogger(__name__)
_FULL_BODY = (
    b'{"error":{"message":"the server has too many open connections","type":"unavailable_error",'
    b'"param":null,"code":"too_many_connections"}}'
)
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_FULL_BODY), _FULL_BODY)
)


class Connection(RequestHandler):
    """One client's connection: aiohttp's, with our errors, and a limit to their number."""

    def __init__(self, manager: web.Server, limit: int, **options: Any) -> None:
        super().__init__(manager, **options)
        self._is_one_too_many = len(manager.connections) >= limit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve, or say that it is too much."""
        if self._is_one_too_many and isinstance(transport, asyncio.WriteTransport):
            transport.write(_FULL)
            transport.close()
        else:
            super().connection_made(transport)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what aiohttp could not parse, or to a bug outside of every handler."""
        if isinstance(exc, HttpProcessingError):
            # The message repeats the client's bytes: enough for it, and nothing for our log.
            logger.debug("no HTTP from %s: %s", request.remote, type(exc).__name__)
            error = http_error(status, _first_line(message))
        else:
            logger.error("the connection of %s failed", request.remote, exc_info=exc)
            error = ApiError("internal error, see the server's log")
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is out already")
        response = error_reply(error)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """What a client sent is no error of ours: it must not be able to fill the log."""
        if isinstance(kw.get("exc_info"), (HttpProcessingError, web.RequestPayloadError)):
            logger.debug(*args)
        else:
            super().log_exception(*args, **kw)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; one that aiohttp raised before our middlewares ran becomes JSON here."""
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            resp = error_reply(http_error(resp.status, resp.reason))
        return await super().finish_response(request, resp, start_time)


class ConnectionServer(web.Server):
    """Makes a Connection for every client, up to a number."""

    def __init__(self, inner: web.Server, config: ServerConfig) -> None:
        super().__init__(
            inner.request_handler,
            request_factory=inner.request_factory,
            # Without it a client that leaves is noticed only at the next write.
            handler_cancellation=True,
        )
        self._limit = config.max_connections
        self._options: dict[str, Any] = {
            # Also how long a client may take over the head of its request.
            "keepalive_timeout": config.keepalive_seconds,
            "access_log": logging.getLogger("server.http.access") if config.access_log else None,
            "access_log_class": AccessLogger,
            # aiohttp would unpack on the event loop, without a limit, also what is only read to
            # its end after a refusal; bodies.py does it instead.
            "auto_decompress": False,
        }

    def __call__(self) -> RequestHandler:
        """The protocol of one new connection."""
        return Connection(self, self._limit, loop=self._loop, **self._options)


class ConnectionRunner(web.AppRunner):
    """Runs the application behind our connections."""

    def __init__(self, app: web.Application, config: ServerConfig, shutdown_timeout: float) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout)
        self._config = config

    async def _make_server(self) -> web.Server:
        return ConnectionServer(await super()._make_server(), self._config)


def _first_line(message: str | None) -> str:
    """What was wrong, without the picture of the bytes that aiohttp's parser draws below."""
    return (message or "this is no HTTP").strip().partition("\n")[0].rstrip(":")
