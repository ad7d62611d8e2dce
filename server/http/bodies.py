"""Request bodies: read whole before a handler runs, within a size and a time."""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from server.config import ServerConfig
from server.errors import InvalidRequestError


def read_bodies(config: ServerConfig) -> Middleware:
    """Has every body read; handlers find it kept. One that trickles in must not hold a handler."""

    @web.middleware
    async def read(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.body_exists:
            return await handler(request)
        try:
            async with asyncio.timeout(config.client_seconds):
                await request.read()
        except TimeoutError:
            late = InvalidRequestError(
                f"the body did not arrive within {config.client_seconds:g} s", code="body_too_slow"
            )
            late.status = 408
            raise _closing(late) from None
        except web.RequestPayloadError:
            text = "the body's chunks or encoding are damaged"
            raise _closing(InvalidRequestError(text, code="bad_body")) from None
        except web.HTTPRequestEntityTooLarge:
            large = InvalidRequestError(
                f"the request body is larger than {config.max_body_mb} MB", code="request_too_large"
            )
            large.status = 413
            raise _closing(large) from None
        return await handler(request)

    return read


def _closing(error: InvalidRequestError) -> InvalidRequestError:
    """Where the next request on this connection would begin is anybody's guess."""
    error.headers["Connection"] = "close"
    return error
