"""error_document: an error as the clients of a path expect it."""

from typing import Any

from server.errors import ApiError

_ANTHROPIC_PATH = "/v1/messages"
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


def error_document(path: str, error: ApiError) -> dict[str, Any]:
    """The JSON of an error that a request for `path` met.

    Anthropic's form has its own words for the type; our further keys stay beside it.
    """
    document = error.body()
    if _ANTHROPIC_PATH not in path:
        return document
    kind = _ANTHROPIC_TYPES.get(error.status, "api_error")
    return {"type": "error", "error": document["error"] | {"type": kind}}
