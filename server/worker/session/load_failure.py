"""load_failure: why a load or an estimate failed, as the server is told."""

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
    """The message for an exception, a bug of ours included."""
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
    return LoadFailed("unknown", str(error) if is_ours else f"{type(error).__name__}: {error}")
