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
    is_out_of_memory,
)
from server.protocol.loading import LoadFailed

_WRONG = "invalid_parameter"
_NO_MEMORY = (
    "the worker process cannot get more host memory; a limit of ulimit -v or of the container may "
    "be the cause"
)
_SETTINGS = {AdapterError: "lora", ProjectorError: "mmproj", ChatTemplateError: "chat_template"}


def load_failure(error: Exception) -> LoadFailed:
    """The message for an exception, including bugs."""
    if is_out_of_memory(error):
        return LoadFailed("out_of_memory", f"{_NO_MEMORY}{f': {error}' if str(error) else ''}")
    match error:
        case ModelLoadError(reason=reason, detail=detail):
            return LoadFailed(reason, detail)
        case ContextCreateError(reason=reason) | UnsupportedCpuError(reason=reason):
            return LoadFailed(reason, str(error))
        case InvalidParameterError():
            return LoadFailed(_WRONG, str(error), error.field)
        case _:
            pass
    for kind, setting in _SETTINGS.items():
        if isinstance(error, kind):
            return LoadFailed(_WRONG, str(error), setting)
    is_ours = isinstance(error, LlamaError)
    text = str(error) if is_ours else f"internal error: {type(error).__name__}: {error}"
    return LoadFailed("unknown", text)
