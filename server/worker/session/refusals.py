"""Refusals: converts exceptions to Refused messages."""

from collections.abc import Mapping

from llamabind.errors import (
    ChatTemplateError,
    ContextCreateError,
    GrammarError,
    HostMemoryError,
    InputTooLongError,
    InvalidParameterError,
    LlamaError,
    MissingLibraryError,
    PromptTooLongError,
    RenderStoppedError,
    SlotBusyError,
    SlotFileError,
    StateError,
    TokenizeError,
    is_out_of_memory,
)
from server.protocol.job import ChatPrompt, InfillPrompt, Job, TextPrompt
from server.protocol.messages import RefusalKind, Refused
from server.protocol.tasks import Detokenize, Embed, Rank, Render, RestoreSlot, Task, Tokenize

_FILE_PARAM = "filename"
_PARAMS: Mapping[type, str] = {
    Tokenize: "content",
    Detokenize: "tokens",
    Render: "messages",
    Embed: "input",
    Rank: "documents",
    RestoreSlot: _FILE_PARAM,
}


def refusal(
    request_id: str,
    error: LlamaError,
    text_param: str = "messages",
    grammar_param: str = "grammar",
) -> Refused:
    """The refusal of a request for an error of llamabind.

    `text_param` is the request's field with the text, `grammar_param` that of the grammar.
    """
    kind, param, message = RefusalKind.INVALID, None, str(error)
    match error:
        case PromptTooLongError():
            return Refused(
                request_id=request_id,
                kind=RefusalKind.CONTEXT_OVERFLOW,
                message=f"{message}; {_way_out(error)}",
                param=text_param,
                n_prompt_tokens=error.n_prompt_tokens,
                n_ctx=error.n_ctx,
            )
        case InvalidParameterError():
            param = error.field
        case GrammarError():
            param = grammar_param
            message = message if message.startswith(param) else f"{param}: {message}"
        case RenderStoppedError():
            param = text_param
        case ChatTemplateError():
            param = "messages"
        case TokenizeError():
            param = text_param
        case StateError() if text_param == _FILE_PARAM and not isinstance(error, SlotFileError):
            param = text_param
        case _:
            kind = _kind_of(error)
    return Refused(request_id=request_id, kind=kind, message=message, param=param)


def _kind_of(error: LlamaError) -> RefusalKind:
    """The kind of an error that is not the fault of the request."""
    match error:
        case SlotBusyError() | ContextCreateError(reason="out_of_memory"):
            return RefusalKind.BUSY
        case MissingLibraryError():
            return RefusalKind.UNSUPPORTED
        case HostMemoryError():
            return RefusalKind.NO_MEMORY
        case SlotFileError(is_full=is_full):
            return RefusalKind.DISK_FULL if is_full else RefusalKind.FILE_NOT_WRITTEN
        case _:
            return RefusalKind.FAILED


def _way_out(error: PromptTooLongError) -> str:
    if not isinstance(error, InputTooLongError):
        return "shorten it, or load the model with a larger n_ctx (-c)"
    if error.limit_name == "n_ubatch":
        return "split it, or load the model with a larger n_ubatch (-ub)"
    return "split it into shorter inputs"


def internal_error(request_id: str, error: BaseException) -> Refused:
    """The refusal of a request for a bug of the worker."""
    text = f"internal error in the worker: {type(error).__name__}: {error}"
    if is_out_of_memory(error):
        text = f"the worker process cannot get more host memory: {type(error).__name__}: {error}"
        return Refused(request_id=request_id, kind=RefusalKind.NO_MEMORY, message=text)
    return Refused(request_id=request_id, kind=RefusalKind.FAILED, message=text)


def prompt_param(job: Job) -> str:
    """The request's field with the prompt of a job."""
    match job.prompt:
        case ChatPrompt():
            return "messages"
        case TextPrompt():
            return "prompt"
        case InfillPrompt():
            return "input_prefix"


def text_param(task: Task) -> str:
    """The request's field with the texts, tokens or file of a task."""
    return _PARAMS.get(type(task), "model")
