"""error_document: an error as the clients of a path expect it."""

from typing import Any

from server.errors import ApiError

_ANTHROPIC_PATHS = ("/v1/messages", "/v1/messages/count_tokens")
_OLLAMA_PATHS = tuple(
    f"/api/{name}" for name in ("chat", "generate", "embed", "show", "tags", "ps", "version")
)
_RESPONSES_PATHS = tuple(f"/responses{name}" for name in ("", "/input_tokens"))
# What their job's fields are called in a request for a response.
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


def error_document(path: str, error: ApiError) -> dict[str, Any]:
    """The JSON of an error that a request for `path` met.

    Anthropic's form has its own words for the type, Ollama's is the message; our keys
    stay beside.
    """
    document = error.body()
    if path.endswith(_OLLAMA_PATHS):
        return {"error": error.message, "param": error.param, "code": error.code}
    if path.endswith(_RESPONSES_PATHS):
        param = _RESPONSES_PARAMS.get(error.param or "", error.param)
        return {"error": document["error"] | {"param": param}}
    if not path.endswith(_ANTHROPIC_PATHS):
        return document
    kind = _ANTHROPIC_TYPES.get(error.status, "api_error")
    return {"type": "error", "error": document["error"] | {"type": kind}}
