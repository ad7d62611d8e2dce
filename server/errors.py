"""Every error that a client can receive; the middleware turns them into JSON.

ApiError
├── InvalidRequestError      400  the request is invalid; names the field
│   └── ContextOverflowError 400  the prompt can never fit; carries both numbers
├── UnusableModelError       400  the model's file cannot be loaded
├── AuthenticationError      401  the API key is missing or wrong
├── ForbiddenError           403  this key, web origin or Host header is not allowed
├── ModelNotFoundError       404  no model has that id
├── StateConflictError       409  the model's state does not allow the operation
├── QueueFullError           429  the model's queue is full; says when to try again
├── TooManyStreamsError      429  the client has too many streams of events open
├── EngineFailedError        500  the engine failed while it computed the answer
├── FileNotWrittenError      500  the file system refused to write a file
├── NotSupportedError        501  switched off, or unsupported by this model or this CPU
├── UnavailableError         503  temporary: draining, shutting down
│   └── WorkerCrashedError   503  the model's process died; the next request starts it again
│       └── RpcServerLostError 503  because an RPC server does not answer any more
├── LoadTimeoutError         504  a load took too long
├── OutOfMemoryError         507  the model does not fit into memory
└── DiskFullError            507  a file to write does not fit on its file system
"""

from typing import Any

from llamabind.errors import InvalidParameterError

# Retry-After of errors that a person must mend: a crash loop ends by an explicit load; an RPC
# server that is busy or of another version is changed by the operator.
OPERATOR_RETRY_SECONDS = 60
# Retry-After of a model whose RPC server does not answer.
RPC_RETRY_SECONDS = 5


class ApiError(Exception):
    """An error answer in OpenAI's form.

    `status` is the HTTP status; `type`, `code` and `param` are for programs, `message` is for
    people. `extra` adds keys to the error object, `headers` adds response headers.
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


def detached(error: BaseException) -> BaseException:
    """A copy of an ApiError, to keep or to raise; other errors as they are, for the log's sake.

    A raised error refers to its traceback, and so to all variables on the way, such as a request's
    body. If one of these refers to the error again, all of it stays in memory until Python's next
    full garbage collection, which may be a gigabyte of bodies later.
    """
    if not isinstance(error, ApiError):
        return error
    copy = type(error).__new__(type(error), *error.args)
    copy.__dict__.update(error.__dict__)
    return copy


class InvalidRequestError(ApiError):
    """The request is invalid; `param` names the field, if a field is invalid."""

    status = 400
    type = "invalid_request_error"


class ContextOverflowError(InvalidRequestError):
    """The prompt is longer than the model's context."""

    # llama-server's type and OpenAI's code: clients check one or the other.
    type = "exceed_context_size_error"
    code = "context_length_exceeded"

    def __init__(
        self, message: str, n_prompt_tokens: int, n_ctx: int, param: str = "messages"
    ) -> None:
        super().__init__(message, param=param)
        self.n_prompt_tokens = n_prompt_tokens
        self.n_ctx = n_ctx
        self.extra = {"n_prompt_tokens": n_prompt_tokens, "n_ctx": n_ctx}

    def openai_message(self, param: str | None) -> str:
        """The message in OpenAI's words, which clients search; `param` is the field at fault."""
        count = "at least " if "at least" in self.message else ""
        return (
            f"This model's maximum context length is {self.n_ctx} tokens. However, your "
            f"{param} resulted in {count}{self.n_prompt_tokens} tokens. Please reduce the "
            f"length of the {param}, or load the model with a larger n_ctx (-c)."
        )

    @property
    def anthropic_message(self) -> str:
        """The message in Anthropic's words, on which agents compact their conversation."""
        return f"prompt is too long: {self.n_prompt_tokens} tokens > {self.n_ctx} maximum"


class UnusableModelError(ApiError):
    """The model's file is damaged, incomplete, or of an architecture that llama.cpp lacks."""

    status = 400
    type = "invalid_request_error"


class AuthenticationError(ApiError):
    """The request carries no API key, or one that this server does not have."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"

    def __init__(self, *, was_given: bool) -> None:
        # llama-server's message for both cases; the hint helps where the key was forgotten.
        hint = "" if was_given else ": send one as Authorization: Bearer KEY or as X-Api-Key"
        super().__init__(f"Invalid API Key{hint}")
        self.headers["WWW-Authenticate"] = "Bearer"


class ForbiddenError(ApiError):
    """The request's key, web origin or Host header is not allowed to do this."""

    status = 403
    type = "permission_error"


class ModelNotFoundError(ApiError):
    """No model has that id or alias."""

    status = 404
    type = "not_found_error"
    code = "model_not_found"

    def __init__(self, model_id: str, param: str = "model_id") -> None:
        super().__init__(
            f"model {model_id!r} does not exist; GET /api/v2/models lists all models", param=param
        )


class StateConflictError(ApiError):
    """The model's state does not allow the operation."""

    status = 409
    type = "conflict_error"


class QueueFullError(ApiError):
    """The model's queue is full: `n_waiting` requests wait, `n_own` of them sent by the caller.

    With a limit `max_queue` above 0, a caller that has no request waiting never gets this error.
    """

    status = 429
    type = "rate_limit_error"
    code = "queue_full"

    def __init__(
        self, model_id: str, n_waiting: int, max_queue: int, retry_after: int, n_own: int
    ) -> None:
        super().__init__(
            f"the queue for model {model_id!r} is full ({n_waiting} waiting, {n_own} of them from "
            f"this client, limit {max_queue}); retry in {retry_after} s"
        )
        self.extra = {
            "queue_length": n_waiting,
            "queue_position": n_waiting + 1,
            "max_queue": max_queue,
            "retry_after": retry_after,
        }
        self.headers["Retry-After"] = str(retry_after)


class TooManyStreamsError(ApiError):
    """The client has `n_own` streams of events open, as many as it may have."""

    status = 429
    type = "rate_limit_error"
    code = "too_many_streams"

    def __init__(self, n_own: int, limit: int, retry_after: int) -> None:
        super().__init__(
            f"this client has {n_own} streams of events open, the limit is {limit}; close one, or "
            f"retry in {retry_after} s"
        )
        self.headers["Retry-After"] = str(retry_after)


class EngineFailedError(ApiError):
    """The engine failed while it computed this request's answer."""

    code = "engine_failed"


class FileNotWrittenError(ApiError):
    """A file cannot be written, for example for lack of permission."""

    code = "file_not_written"


class NotSupportedError(ApiError):
    """Switched off on this server, or not supported by this model or this CPU."""

    status = 501
    type = "not_supported_error"


class UnavailableError(ApiError):
    """Temporarily not possible; `retry_after`, in seconds, becomes the Retry-After header."""

    status = 503
    type = "unavailable_error"

    def __init__(
        self, message: str, *, code: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message, code=code)
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)


class WorkerCrashedError(UnavailableError):
    """The model's worker process died; the next request starts another."""

    code = "worker_crashed"

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=1)


class RpcServerLostError(WorkerCrashedError):
    """The model's worker process died because it lost the connection to an RPC server."""

    code = "rpc_server_lost"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers["Retry-After"] = str(RPC_RETRY_SECONDS)


class LoadTimeoutError(ApiError):
    """A load or a memory estimate exceeded its time limit."""

    status = 504
    type = "timeout_error"
    code = "load_timeout"


class OutOfMemoryError(ApiError):
    """The model needs more memory than is available."""

    status = 507
    type = "insufficient_memory_error"
    code = "out_of_memory"


class DiskFullError(ApiError):
    """The file system of a file to write has no space left, or the user's quota is used up."""

    status = 507
    type = "insufficient_storage_error"
    code = "disk_full"


def load_error(reason: str, message: str, param: str | None = None) -> ApiError:
    """The error for a failed load, chosen by its `reason`; `param` names a wrong setting."""
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
        case "rpc_server_lost":
            error = RpcServerLostError(message)
        case "crash_loop" | "rpc_server_busy" | "rpc_server_mismatch":
            error = UnavailableError(message, code=reason, retry_after=OPERATOR_RETRY_SECONDS)
        case "timeout":
            error = LoadTimeoutError(message)
        case "cancelled":
            error = UnavailableError(message, code="load_cancelled", retry_after=1)
        case _:
            error = ApiError(message, code="load_failed")
    error.extra["reason"] = reason
    return error


def invalid_parameter(error: InvalidParameterError) -> InvalidRequestError:
    """The 400 for a value that llamabind's checks refused."""
    return InvalidRequestError(f"field '{error.field}': {error.message}", param=error.field)
