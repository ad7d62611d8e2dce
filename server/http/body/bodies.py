"""Reads and decompresses request bodies before a handler runs, within limits of size and time."""

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from server.config import ServerConfig
from server.errors import InvalidRequestError, UnavailableError
from server.http.app_keys import CALLER
from server.http.body.body_memory import BodyMemory
from server.http.body.chunks import (
    BodyTooLargeError,
    TinyChunksError,
    chunk_turns,
    read_chunks,
)
from server.http.body.json_body import BODY
from server.http.body.unpacking import (
    UnpackedTooLargeError,
    UnpackError,
    encodings,
    is_known,
    unpack,
)
from server.http.body.value_limit import check_values
from server.http.fair_turns import FairTurns
from server.listening.departure import has_gone
from server.models.admission import CALLER_OF_QUEUE

_BODIES_AT_ONCE: Final = 32
"""Bodies of the largest allowed size that may be in memory together."""

_HANDLERS_AT_ONCE: Final = 4
"""Requests with a body that are handled in one iteration of the event loop. One takes about a
millisecond until it waits for its worker, so that a burst of them would delay all others.
"""


def read_bodies(config: ServerConfig) -> Middleware:
    """Reads every body completely, so that a slow upload cannot keep a handler waiting.

    Compressed bodies are decompressed only here, after the checks of host, origin and key:
    aiohttp's own decompression is off (connections.py), since it also expands discarded bodies.
    """
    limit = config.max_body_mb << 20
    # One body at a time: each may need memory up to the limit.
    unpacking = asyncio.Lock()
    memory = BodyMemory(_BODIES_AT_ONCE * limit)
    chunks = chunk_turns()
    handlers = FairTurns(_HANDLERS_AT_ONCE)

    @web.middleware
    async def read(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.body_exists or _is_unused(request):
            return await handler(request)
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity") and not is_known(encoding):
            raise _unknown(encoding)
        expected = request.content_length
        if is_known(encoding) or expected is None or expected > limit:
            expected = limit
        async with AsyncExitStack() as stack:
            caller = CALLER_OF_QUEUE.get()
            try:
                async with asyncio.timeout(config.client_seconds):
                    held = await stack.enter_async_context(memory.reserve(expected, caller))
            except TimeoutError:
                raise _no_memory(config) from None
            raw = await _received(request, config, chunks)
            if is_known(encoding):
                async with unpacking:
                    raw = await _unpacked(bytes(raw), encoding, config)
            request[BODY] = raw
            held.shrink(len(raw))
            await handlers.wait(caller)
            if has_gone(request):
                raise asyncio.CancelledError("the client has disconnected")
            await check_values(raw)
            return await handler(request)

    return read


async def _received(request: web.Request, config: ServerConfig, turns: FairTurns) -> bytearray:
    """The body as it was sent. Raises InvalidRequestError."""
    limit = config.max_body_mb << 20
    try:
        async with asyncio.timeout(config.client_seconds):
            return await read_chunks(request.content, limit, turns, CALLER_OF_QUEUE.get())
    except TimeoutError:
        late = InvalidRequestError(
            f"the request body did not arrive within {config.client_seconds:g} s; the limit is "
            "--timeout",
            code="body_too_slow",
        )
        late.status = 408
        raise _closing(late) from None
    except TinyChunksError as error:
        tiny = f"the request body came in {error}; send it in larger chunks, or with Content-Length"
        raise _closing(InvalidRequestError(tiny, code="tiny_chunks")) from None
    except web.RequestPayloadError:
        raise _damaged() from None
    except BodyTooLargeError:
        raise _too_large(config, "") from None


def _is_unused(request: web.Request) -> bool:
    """Whether no handler reads the body, so that clients without a key cannot fill memory."""
    return request.method in ("GET", "HEAD", "OPTIONS") or not request[CALLER].is_known


async def _unpacked(raw: bytes, encoding: str, config: ServerConfig) -> bytearray:
    """The body decompressed. Raises InvalidRequestError."""
    body = bytearray()
    try:
        for piece in unpack(raw, encoding, config.max_body_mb << 20):
            body += piece
            await asyncio.sleep(0)  # let other requests run between slices
    except UnpackError:
        body.clear()
        raise _damaged() from None
    except UnpackedTooLargeError:
        body.clear()
        raise _too_large(config, " when decompressed") from None
    except BaseException:
        body.clear()  # the exception's traceback keeps the object until the error is written
        raise
    return body


def _unknown(encoding: str) -> InvalidRequestError:
    error = InvalidRequestError(
        f"Content-Encoding {encoding[:40]!r} is not supported; send the body uncompressed, "
        f"or as {' or '.join(encodings())}",
        code="unsupported_encoding",
    )
    error.status = 415
    error.headers["Accept-Encoding"] = ", ".join(encodings())
    return _closing(error)


def _no_memory(config: ServerConfig) -> UnavailableError:
    error = UnavailableError(
        "the bodies of requests in progress have reached the limit "
        f"({_BODIES_AT_ONCE * config.max_body_mb} MB together, half of it for one client); retry "
        "when earlier requests are answered",
        code="too_many_bodies",
        retry_after=1,
    )
    error.headers["Connection"] = "close"
    return error


def _damaged() -> InvalidRequestError:
    text = "the request body is damaged: its chunks or its Content-Encoding are invalid"
    return _closing(InvalidRequestError(text, code="bad_body"))


def _too_large(config: ServerConfig, when: str) -> InvalidRequestError:
    error = InvalidRequestError(
        f"the request body is larger than {config.max_body_mb} MB{when}; "
        "the limit is --max-body-mb",
        code="request_too_large",
    )
    error.status = 413
    return _closing(error)


def _closing(error: InvalidRequestError) -> InvalidRequestError:
    """Close the connection after this error: where the next request begins is unknown."""
    error.headers["Connection"] = "close"
    return error
