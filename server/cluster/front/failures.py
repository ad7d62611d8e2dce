"""Errors of the ingress itself, as documents, and as the last event of a broken stream."""

from typing import Final

import msgspec

from server.errors import ApiError, NotSupportedError, UnavailableError
from server.http.error_documents import document_at

_RETRY_SECONDS: Final = 1


class TooLargeError(ApiError):
    """The request's body is larger than the cluster takes."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class ClusterFullError(ApiError):
    """All replicas of a model are full, and so is the queue in front of them."""

    status = 429
    type = "rate_limit_error"
    code = "queue_full"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"all replicas of model {model!r} are full, and so is the queue in front of them; "
            f"retry in {_RETRY_SECONDS} s"
        )
        self.headers["Retry-After"] = str(_RETRY_SECONDS)


def replica_lost(model: str) -> ApiError:
    """The error of a request whose replica ended."""
    return UnavailableError(
        f"the replica of model {model!r} that was answering ended; send the request again",
        code="replica_lost",
        retry_after=_RETRY_SECONDS,
    )


def not_deployed(model: str) -> ApiError:
    """The error of a model without replicas."""
    return UnavailableError(
        f"model {model!r} has no replica that could answer; the cluster's log says why",
        code="no_replica",
        retry_after=_RETRY_SECONDS * 5,
    )


def of_one_server(method: str, path: str) -> ApiError:
    """The error of a request that would change one replica of several."""
    return NotSupportedError(
        f"{method} {path} is about one server; in a cluster the file cluster.toml says which "
        "models "
        "are loaded, and how",
        code="not_in_cluster",
    )


def error_body(path: str, error: ApiError) -> bytes:
    """The JSON of an error, in the form of the path's dialect."""
    return msgspec.json.encode(document_at(path, error))


def last_event(path: str, content_type: str, error: ApiError) -> bytes:
    """What ends a stream that has begun; b"" where only closing the connection says it."""
    document = msgspec.json.encode(document_at(path, error))
    if content_type.startswith("application/x-ndjson"):
        return document + b"\n"
    if not content_type.startswith("text/event-stream"):
        return b""
    # A replica may have ended within an event: the empty line ends that one.
    if path.endswith("/v1/messages"):
        return b"\n\nevent: error\ndata: " + document + b"\n\n"
    if path.endswith("/responses"):
        event = {"type": "error", "code": error.code, "message": error.message, "param": None}
        return b"\n\nevent: error\ndata: " + msgspec.json.encode(event) + b"\n\n"
    return b"\n\ndata: " + document + b"\n\n"
