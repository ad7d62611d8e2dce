"""The ApiError for each way in which a request to a hub or a download fails."""

from typing import Final

from server.errors import ApiError
from server.hub.reference import BadReferenceError, ModelReference, check_file

NOT_INSTALLED: Final = (
    "downloads need the package huggingface_hub: pip install 'huggingface_hub>=2.4,<3'"
)

# code: (HTTP status, type)
_KINDS: Final = {
    "invalid_model_name": (400, "invalid_request_error"),
    "offline": (403, "permission_error"),
    "hub_gated": (403, "permission_error"),
    "hub_not_found": (404, "not_found_error"),
    "download_not_found": (404, "not_found_error"),
    "model_in_use": (409, "conflict_error"),
    "download_running": (409, "conflict_error"),
    "too_many_downloads": (429, "rate_limit_error"),
    "cache_not_writable": (500, "server_error"),
    "download_failed": (500, "server_error"),
    "hub_not_installed": (501, "not_supported_error"),
    "hub_corrupt": (502, "server_error"),
    "hub_unreachable": (503, "unavailable_error"),
    "hub_rate_limited": (503, "unavailable_error"),
    "insufficient_disk_space": (507, "insufficient_storage_error"),
}


def hub_error(
    code: str, message: str, *, param: str | None = None, retry_after: int | None = None
) -> ApiError:
    """The error answer for `code`; an unknown code is a download_failed."""
    error = ApiError(message, param=param, code=code if code in _KINDS else "download_failed")
    error.status, error.type = _KINDS[error.code or ""]
    if retry_after is not None:
        error.headers["Retry-After"] = str(retry_after)
    return error


def read_reference(model: str, file: str | None = None) -> ModelReference:
    """The model that a client names. Raises ApiError for a wrong name or file."""
    try:
        reference = ModelReference.parse(model)
        if file is not None:
            check_file(file)
    except BadReferenceError as error:
        raise invalid_name(error) from None
    return reference


def invalid_name(error: BadReferenceError) -> ApiError:
    """The 400 for a name that cannot be on the hub."""
    return hub_error("invalid_model_name", f"field '{error.field}': {error}", param=error.field)
