"""load_failure: converts the exception of a load or estimate to LoadFailed."""

from llamabind.errors import (
    AdapterError,
    ChatTemplateError,
    ContextCreateError,
    InvalidParameterError,
    LlamaError,
    ModelLoadError,
    ProjectorError,
    UnsupportedCpuError,
)
from server.protocol.messages import LoadFailed

_WRONG = "invalid_parameter"
_SETTINGS = {AdapterError: "lora", ProjectorError: "mmproj", ChatTemplateError: "chat_template"}


def load_failure(error: Exception) -> LoadFailed:
    """The message for an exception, including bugs."""
    match error:
        case ModelLoadError(reason=reason, detail=detail):
            return LoadFailed(reason, detail)
        case ContextCreateError(reason=reason) | UnsupportedCpuError(reason=reason):
            return LoadFailed(reason, str(error))
        case InvalidParameterError():
            return LoadFailed(_WRONG, str(error), error.field)
        case MemoryError():
            return LoadFailed("out_of_memory", "the process has reached its memory limit")
        case _:
            pass
    for kind, setting in _SETTINGS.items():
        if isinstance(error, kind):
            return LoadFailed(_WRONG, str(error), setting)
    is_ours = isinstance(error, LlamaError)
    text = str(error) if is_ours else f"internal error: {type(error).__name__}: {error}"
    return LoadFailed("unknown", text)
