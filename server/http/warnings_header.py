"""Warnings about ignored parts of a request: a header of its answer, and a log line."""

import logging
import re
from collections.abc import Sequence
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from server.http.app_keys import GENERATION, REQUEST_ID, WARNINGS

logger = logging.getLogger("server.warnings")
HEADER: Final = "X-Llamabind-Warnings"
_N_SENT: web.RequestKey[int] = web.RequestKey("_N_SENT", int)
_MAX_LENGTH: Final = 1000
# Warnings repeat names and values that clients choose; a header and a log line must stay one line.
_NOT_PRINTABLE: Final = re.compile(r"[^ -~]")


async def send_warnings(request: web.Request, response: web.StreamResponse) -> None:
    """Signal on_response_prepare: write the request's warnings to a header and to the log."""
    warnings = warnings_of(request)
    request[_N_SENT] = len(warnings)
    if warnings:
        response.headers[HEADER] = _log(request, warnings)


@web.middleware
async def log_late_warnings(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log the worker's warnings about a stream whose headers had been sent before they arrived."""
    try:
        return await handler(request)
    finally:
        if _N_SENT in request and (late := warnings_of(request)[request[_N_SENT] :]):
            _log(request, late)


def _log(request: web.Request, warnings: Sequence[str]) -> str:
    text = header_text(warnings)
    logger.warning("request %s: %s", request[REQUEST_ID], text)
    return text


def warnings_of(request: web.Request) -> tuple[str, ...]:
    """The warnings that are known now; all are, once the first output of an answer has arrived."""
    generation = request.get(GENERATION)
    return (*request.get(WARNINGS, ()), *(generation.warnings if generation else ()))


def header_text(warnings: Sequence[str]) -> str:
    """The warnings as one line of ASCII; those that do not fit are only counted."""
    lines = [_NOT_PRINTABLE.sub("?", warning) for warning in warnings]
    taken: list[str] = []
    n_characters = 0
    for line in lines:
        n_characters += len(line) + len("; ")
        if n_characters > _MAX_LENGTH - len("; and 1000000 more"):
            break
        taken.append(line)
    if not taken:
        taken = [lines[0][: _MAX_LENGTH // 2] + "..."]
    left = len(lines) - len(taken)
    return "; ".join([*taken, *([f"and {left} more"] if left else [])])
