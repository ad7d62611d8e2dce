"""Middlewares around every handler: they set the request id and turn exceptions into JSON."""

import asyncio
import logging
import re
import time
import uuid

from aiohttp import web
from aiohttp.typedefs import Handler

from llamabind.errors import InvalidParameterError
from server.errors import ApiError, InvalidRequestError, invalid_parameter
from server.http.access_log import log_disconnect
from server.http.app_keys import REQUEST_ID, STATUS
from server.http.body.json_body import json_reply
from server.http.error_documents import error_document
from server.models.registry import AUTOLOAD

logger = logging.getLogger(__name__)
_ID_HEADER = "X-Request-Id"
# A client's own id is written to the log, so it may contain only characters of a plain id.
_CLIENT_ID = re.compile(r"[\w.:+/=-]{1,128}", re.ASCII)
_TYPES = {404: "not_found_error", 405: "invalid_request_error"}
_CODES = {404: "unknown_path", 405: "method_not_allowed", 400: "bad_http", 426: "no_websocket"}
# Codex opens a WebSocket first. It tries again for seven seconds after a 405, and sends the request
# by POST at once after a 426.
_NO_WEBSOCKET = 426
_AUTOLOAD = {"true": True, "1": True, "false": False, "0": False}


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id: the client's X-Request-Id if it is well-formed, else a new one."""
    theirs = request.headers.get(_ID_HEADER, "")
    request[REQUEST_ID] = theirs if _CLIENT_ID.fullmatch(theirs) else uuid.uuid4().hex
    started = time.monotonic()
    try:
        return await handler(request)
    except asyncio.CancelledError:
        log_disconnect(request, time.monotonic() - started)
        raise


async def send_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Signal on_response_prepare: every answer carries its request's id, streams included."""
    if REQUEST_ID in request:
        response.headers[_ID_HEADER] = request[REQUEST_ID]


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every exception into a JSON error; an unexpected one is a 500 without details."""
    try:
        return await handler(request)
    except ApiError as error:
        # A variable of a function that it left may hold the error: see server.errors.detached.
        return _reply(request, error.with_traceback(None))
    except InvalidParameterError as error:
        return _reply(request, invalid_parameter(error.with_traceback(None)))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _reply(request, _from_http(request, error), _kept_headers(error))
    except Exception as error:
        logger.exception("request %s failed", request[REQUEST_ID])
        return _reply(request, unexpected_error(request, error))


@web.middleware
async def choose_autoload(request: web.Request, handler: Handler) -> web.StreamResponse:
    """?autoload=true or false, as in llama-server's router: may the request load a model."""
    text = request.query.get("autoload")
    if text is None:
        return await handler(request)
    if text not in _AUTOLOAD:
        raise InvalidRequestError(
            f"'autoload' is {text[:32]!r}, expected true or false", param="autoload"
        )
    token = AUTOLOAD.set(_AUTOLOAD[text])
    try:
        return await handler(request)
    finally:
        AUTOLOAD.reset(token)


def unexpected_error(request: web.Request, error: Exception) -> ApiError:
    """Record a bug in `last_error`; the client learns only the request id to search the log for."""
    name = f"{type(error).__name__}: {error}"
    request.app[STATUS].record_error(f"{request.method} {request.path}: {name}")
    return ApiError(f"internal error, see the server's log for request {request[REQUEST_ID]}")


def error_reply(error: ApiError) -> web.Response:
    """The response for an error before the request's path was known, in OpenAI's form."""
    return json_reply(error.body(), status=error.status, headers=error.headers)


def _reply(
    request: web.Request, error: ApiError, headers: dict[str, str] | None = None
) -> web.Response:
    return json_reply(
        error_document(request, error),
        status=error.status,
        headers=error.headers | (headers or {}),
    )


def http_error(status: int, message: str) -> ApiError:
    """An ApiError for one of HTTP's own statuses."""
    error = InvalidRequestError(message, code=_CODES.get(status))
    error.status = status
    error.type = _TYPES.get(status, "server_error" if status >= 500 else error.type)
    return error


def _from_http(request: web.Request, http: web.HTTPException) -> ApiError:
    """The ApiError for aiohttp's own errors: unknown path, wrong method, a WebSocket."""
    if http.status == 405 and request.headers.get("Upgrade", "").lower() == "websocket":
        path = request.path
        return http_error(
            _NO_WEBSOCKET, f"{path} does not accept WebSockets; send the request by POST"
        )
    messages = {
        404: f"{request.method} {request.path} does not exist; GET /docs lists all paths",
        405: f"{request.path} does not support {request.method}",
    }
    return http_error(http.status, messages.get(http.status, http.reason))


def _kept_headers(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
