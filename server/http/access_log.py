"""The access log: one line per request with caller, path, status and time; no prompts or keys."""

import logging
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from server.http.app_keys import CALLER, CONFIG, GENERATION, REQUEST_ID
from server.requests.generation import Generation

logger = logging.getLogger("server.http.access")
_MAX_PATH = 300

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that disconnected before its answer; only logged, never sent."""


class AccessLogger(AbstractAccessLogger):
    """Writes each line to the logger "server.http.access", as text and as fields for JSON."""

    @property
    def enabled(self) -> bool:
        """Whether the logger's level lets the lines through; aiohttp reads this."""
        return logger.isEnabledFor(logging.INFO)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line; `time` is the seconds from the request's headers to the answer's end."""
        _log(request, response.status, time, response.body_length)


def log_disconnect(request: web.Request, time: float) -> None:
    """Write the line of a request whose client disconnected: aiohttp writes none for those."""
    if request.app[CONFIG].access_log and logger.isEnabledFor(logging.INFO):
        _log(request, CLIENT_CLOSED_REQUEST, time, None)


def _log(request: web.BaseRequest, status: int, time: float, n_bytes: int | None) -> None:
    fields = _fields(request, time, n_bytes)
    head = f"{request.method} {_path(request)} {status}"
    text = " ".join([head, *(f"{name}={value}" for name, value in fields.items())])
    record = {"method": request.method, "path": _path(request), "status": status}
    logger.info("%s", text, extra={"fields": record | fields})


def _fields(request: web.BaseRequest, time: float, n_bytes: int | None) -> dict[str, Any]:
    """The line's further fields; those without a value are left out."""
    caller = request.get(CALLER)
    fields = {
        "ms": round(time * 1000, 1),
        "bytes": n_bytes,
        "caller": caller.name if caller else request.remote,
        **_generation_fields(request.get(GENERATION)),
        "request_id": request.get(REQUEST_ID),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _generation_fields(generation: Generation | None) -> dict[str, Any]:
    """Token counts; `ttft_ms` is the time to the first token, including queue and load."""
    if generation is None:
        return {}
    stream = generation.stream
    began, first = stream.created_at, stream.first_token_at
    return {
        "model": generation.model_id,
        "prompt_tokens": stream.usage.prompt,
        "cached_tokens": stream.usage.cached,
        "completion_tokens": stream.usage.completion,
        "ttft_ms": None if first is None else round((first - began) * 1000, 1),
    }


def _path(request: web.BaseRequest) -> str:
    """The percent-encoded path without its query, which may contain private data."""
    return request.rel_url.raw_path[:_MAX_PATH]
