"""error_document: an error in the form that clients of the path's dialect expect."""

import re
from typing import Any

from aiohttp import web

from server.errors import ApiError, ContextOverflowError
from server.http.paths import api_path

_ANTHROPIC_PATHS = ("/v1/messages", "/v1/messages/count_tokens")
_OLLAMA_PATHS = re.compile(r"/api(?!/v2(/|$))(/.*)?", re.DOTALL)
_OPENAI_PATHS = ("/chat/completions", "/v1/completions", "/responses")
_RESPONSES_PATHS = tuple(f"/responses{name}" for name in ("", "/input_tokens"))
# The job's fields by their names in a request to /v1/responses.
_RESPONSES_PARAMS = {"messages": "input", "max_tokens": "max_output_tokens"}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def error_document(request: web.Request, error: ApiError) -> dict[str, Any]:
    """The JSON document of `error` for a request."""
    return document_at(api_path(request), error)


def document_at(path: str, error: ApiError) -> dict[str, Any]:
    """The JSON document of `error` for a request to `path`, which is without --api-prefix.

    Anthropic's dialect has its own values of `type`; in Ollama's, which is all of /api but /api/v2,
    unknown paths included, `error` is the message alone, with `param` and `code` beside it.
    """
    document = error.body()
    if _OLLAMA_PATHS.fullmatch(path):
        return {"error": error.message, "param": error.param, "code": error.code}
    overflow = error if isinstance(error, ContextOverflowError) else None
    own: dict[str, Any] = {}
    if path.endswith(_ANTHROPIC_PATHS):
        if overflow:
            own["message"] = overflow.anthropic_message
        own["type"] = _ANTHROPIC_TYPES.get(error.status, "api_error")
        return {"type": "error", "error": document["error"] | own}
    param = error.param
    if path.endswith(_RESPONSES_PATHS):
        param = own["param"] = _RESPONSES_PARAMS.get(param or "", param)
    if overflow and path.endswith(_OPENAI_PATHS):
        own["message"] = overflow.openai_message(param)
    return {"error": document["error"] | own}
