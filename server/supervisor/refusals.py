"""The errors that clients receive when a worker refuses a request."""

from collections.abc import Mapping
from types import MappingProxyType

from server.errors import (
    ApiError,
    ContextOverflowError,
    DiskFullError,
    EngineFailedError,
    FileNotWrittenError,
    InvalidRequestError,
    NotSupportedError,
    OutOfMemoryError,
    UnavailableError,
)
from server.protocol.messages import RefusalKind, Refused

_REFUSALS: Mapping[RefusalKind, type[ApiError]] = MappingProxyType(
    {
        RefusalKind.NO_MEMORY: OutOfMemoryError,
        RefusalKind.DISK_FULL: DiskFullError,
        RefusalKind.FILE_NOT_WRITTEN: FileNotWrittenError,
        RefusalKind.FAILED: EngineFailedError,
    }
)


def refusal_error(message: Refused) -> ApiError:
    """Return the error for a refusal, with the worker's sentence and numbers."""
    match message.kind:
        case RefusalKind.CONTEXT_OVERFLOW:
            return ContextOverflowError(
                message.message, message.n_prompt_tokens, message.n_ctx, message.param or "messages"
            )
        case RefusalKind.BUSY:
            return UnavailableError(message.message, retry_after=1)
        case RefusalKind.INVALID:
            return InvalidRequestError(message.message, param=message.param)
        case RefusalKind.UNSUPPORTED:
            return NotSupportedError(message.message, code="missing_library")
        case kind:
            return _REFUSALS[kind](message.message)
