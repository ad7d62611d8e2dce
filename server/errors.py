"""Every error a client can be told about; the middleware turns them into JSON.

ApiError
├── InvalidRequestError      400  the request is wrong; names the field
│   └── ContextOverflowError 400  the prompt can never fit; carries both numbers
├── UnusableModelError       400  the file is no model that can be loaded
├── AuthenticationError      401  no key, or a wrong one
├── ForbiddenError           403  not with this key, from this page, or by this name
├── ModelNotFoundError       404  no model of that id
├── StateConflictError       409  the model is not in a state that allows it
├── QueueFullError           429  too many requests wait already; says when to come back
├── EngineFailedError        500  the engine failed while it computed the answer
├── NotSupportedError        501  switched off, or not possible with this model or this CPU
├── UnavailableError         503  not now: draining, shutting down
│   └── WorkerCrashedError   503  the model's process died; the next request starts it again
├── LoadTimeoutError         504  a load took too long
└── OutOfMemoryError         507  the model does not fit into memory
"""

from typing import Any

from llamabind.errors import InvalidParameterError

# Only an explicit load ends a crash loop; how often it is worth to look whether there was one.
CRASH_LOOP_RETRY_SECONDS = 60


class ApiError(Exception):
    """An answer other than success, in OpenAI's form.

    `status` is the HTTP status; `type`, `code` and `param` are for programs, `message` for people;
    `extra` adds keys to the error object and `headers` to the response.
    """

    status = 500
    type = "server_error"
    code: str | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.code
        self.extra: dict[str, Any] = {}
        self.headers: dict[str, str] = {}

    def body(self) -> dict[str, Any]:
        """The JSON document of this error."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error | self.extra}


class InvalidRequestError(ApiError):
    """The request itself is wrong."""

    status = 400
    type = "invalid_request_error"


class ContextOverflowError(InvalidRequestError):
    """The prompt is longer than the model's context."""

    # llama-server's type and OpenAI's code: clients look for the one or the other.
    type = "exceed_context_size_error"
    code = "context_length_exceeded"

    def __init__(
        self, message: str, n_prompt_tokens: int, n_ctx: int, param: str = "messages"
    ) -> None:
        super().__init__(message, param=param)
        self.extra = {"n_prompt_tokens": n_prompt_tokens, "n_ctx": n_ctx}


class UnusableModelError(ApiError):
    """The model's file is damaged, incomplete, or of a kind that llama.cpp does not know."""

    status = 400
    type = "invalid_request_error"


class AuthenticationError(ApiError):
    """The request carries no key, or one that is not ours."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"

    def __init__(self, *, was_given: bool) -> None:
        # llama-server's words for both; the rest helps who has forgotten it.
        hint = "" if was_given else ": send one as Authorization: Bearer KEY or as X-Api-Key"
        super().__init__(f"Invalid API Key{hint}")
        self.headers["WWW-Authenticate"] = "Bearer"


class ForbiddenError(ApiError):
    """The server knows who asks, and does not do this for them."""

    status = 403
    type = "permission_error"


class ModelNotFoundError(ApiError):
    """No model of that id."""

    status = 404
    type = "not_found_error"
    code = "model_not_found"

    def __init__(self, model_id: str, param: str = "model_id") -> None:
        super().__init__(
            f"there is no model {model_id!r}; GET /api/v2/models lists what there is", param=param
        )


class StateConflictError(ApiError):
    """The model is not in a state that allows this."""

    status = 409
    type = "conflict_error"


class QueueFullError(ApiError):
    """As many requests wait for the model as may."""

    status = 429
    type = "rate_limit_error"
    code = "queue_full"

    def __init__(self, model_id: str, n_waiting: int, max_queue: int, retry_after: int) -> None:
        super().__init__(
            f"{n_waiting} requests wait for model {model_id!r} already, {max_queue} may;"
            f" try again in {retry_after} seconds"
        )
        self.extra = {
            "queue_length": n_waiting,
            "queue_position": n_waiting + 1,
            "max_queue": max_queue,
            "retry_after": retry_after,
        }
        self.headers["Retry-After"] = str(retry_after)


class EngineFailedError(ApiError):
    """The engine failed while it worked on this request."""

    code = "engine_failed"


class NotSupportedError(ApiError):
    """This server does not do that."""

    status = 501
    type = "not_supported_error"


class UnavailableError(ApiError):
    """Not now; trying again later can help."""

    status = 503
    type = "unavailable_error"

    def __init__(
        self, message: str, *, code: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message, code=code)
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)


class WorkerCrashedError(UnavailableError):
    """The model's process died."""

    code = "worker_crashed"

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=1)


class LoadTimeoutError(ApiError):
    """The model was not loaded, or looked at, within the time there is for it."""

    status = 504
    type = "timeout_error"
    code = "load_timeout"


class OutOfMemoryError(ApiError):
    """The model does not fit into the memory there is."""

    status = 507
    type = "insufficient_memory_error"
    code = "out_of_memory"


def load_error(reason: str, message: str, param: str | None = None) -> ApiError:
    """The error for a failed load, by its machine-readable reason; `param` is the wrong setting."""
    error: ApiError
    match reason:
        case "out_of_memory":
            error = OutOfMemoryError(message)
        case "corrupt_file" | "unsupported_architecture" | "missing_shard" | "missing_file":
            error = UnusableModelError(message, param="model_id", code=reason)
        case "invalid_parameter":
            error = InvalidRequestError(message, param=param, code=reason)
        case "unsupported_cpu":
            error = NotSupportedError(message, code=reason)
        case "crashed":
            error = WorkerCrashedError(message)
        case "crash_loop":
            error = UnavailableError(message, code=reason, retry_after=CRASH_LOOP_RETRY_SECONDS)
        case "timeout":
            error = LoadTimeoutError(message)
        case "cancelled":
            error = UnavailableError(message, code="load_cancelled", retry_after=1)
        case _:
            error = ApiError(message, code="load_failed")
    error.extra["reason"] = reason
    return error


def invalid_parameter(error: InvalidParameterError) -> InvalidRequestError:
    """The 400 for a value that llamabind's own checks refused."""
    return InvalidRequestError(f"field '{error.field}': {error.message}", param=error.field)
