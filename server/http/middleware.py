"""What surrounds every handler: a request id, and the one place where exceptions become JSON."""

import asyncio
import logging
import re
import time
import uuid

from aiohttp import web
from aiohttp.typedefs import Handler

from llamabind.errors import InvalidParameterError
from server.errors import ApiError, InvalidRequestError, invalid_parameter
from server.http.access_log import log_departure
from server.http.app_keys import REQUEST_ID, STATUS
from server.http.error_documents import error_document
from server.http.json_body import json_reply

logger = logging.getLogger(__name__)
_ID_HEADER = "X-Request-Id"
# A client's own id goes into our log: nothing in it may look like more than an id.
_CLIENT_ID = re.compile(r"[\w.:+/=-]{1,128}", re.ASCII)
_TYPES = {404: "not_found_error", 405: "invalid_request_error"}
_CODES = {404: "unknown_path", 405: "method_not_allowed", 400: "bad_http"}


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id: the client's own if it is sane."""
    theirs = request.headers.get(_ID_HEADER, "")
    request[REQUEST_ID] = theirs if _CLIENT_ID.fullmatch(theirs) else uuid.uuid4().hex
    started = time.monotonic()
    try:
        return await handler(request)
    except asyncio.CancelledError:
        log_departure(request, time.monotonic() - started)
        raise


async def send_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Signal on_response_prepare: every answer carries its request's id, streams included."""
    if REQUEST_ID in request:
        response.headers[_ID_HEADER] = request[REQUEST_ID]


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every exception into a JSON error; an unexpected one is a 500 that tells nothing."""
    try:
        return await handler(request)
    except ApiError as error:
        return _reply(request, error)
    except InvalidParameterError as error:
        return _reply(request, invalid_parameter(error))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _reply(request, _from_http(request, error), _kept_headers(error))
    except Exception as error:
        logger.exception("request %s failed", request[REQUEST_ID])
        return _reply(request, unexpected_error(request, error))


def unexpected_error(request: web.Request, error: Exception) -> ApiError:
    """Remember a bug of ours, and say no more to the client than where the log has it."""
    name = f"{type(error).__name__}: {error}"
    request.app[STATUS].record_error(f"{request.method} {request.path}: {name}")
    return ApiError(f"internal error, see the server's log for request {request[REQUEST_ID]}")


def error_reply(error: ApiError) -> web.Response:
    """The response for an error of a request that nobody could read."""
    return json_reply(error.body(), status=error.status, headers=error.headers)


def _reply(
    request: web.Request, error: ApiError, headers: dict[str, str] | None = None
) -> web.Response:
    return json_reply(
        error_document(request.path, error),
        status=error.status,
        headers=error.headers | (headers or {}),
    )


def http_error(status: int, message: str) -> ApiError:
    """One of HTTP's own errors, in our form."""
    error = InvalidRequestError(message, code=_CODES.get(status))
    error.status = status
    error.type = _TYPES.get(status, "server_error" if status >= 500 else error.type)
    return error


def _from_http(request: web.Request, http: web.HTTPException) -> ApiError:
    """aiohttp's own errors: no such path, wrong method."""
    messages = {
        404: f"there is no {request.method} {request.path}",
        405: f"{request.path} does not take {request.method}",
    }
    return http_error(http.status, messages.get(http.status, http.reason))


def _kept_headers(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
