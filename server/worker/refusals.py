"""What the worker says when it does not take a request."""

from llamabind.errors import (
    ChatTemplateError,
    GrammarError,
    InvalidParameterError,
    LlamaError,
    PromptTooLongError,
    SlotBusyError,
    StateError,
    TokenizeError,
)
from server.protocol import RefusalKind, Refused
from server.tasks import Detokenize, Embed, Rank, Render, Task, Tokenize


def refusal(request_id: str, error: LlamaError, text_param: str = "messages") -> Refused:
    """The answer to a request that the model cannot take; `text_param` names where a text was."""
    kind, param, message = RefusalKind.INVALID, None, str(error)
    match error:
        case PromptTooLongError():
            return Refused(
                request_id=request_id,
                kind=RefusalKind.CONTEXT_OVERFLOW,
                message=message,
                n_prompt_tokens=error.n_prompt_tokens,
                n_ctx=error.n_ctx,
            )
        case InvalidParameterError():
            param = error.field
        case GrammarError():
            param = "json_schema" if message.startswith("json_schema") else "grammar"
            message = message if message.startswith(param) else f"{param}: {message}"
        case ChatTemplateError():
            param = "messages"
        case TokenizeError():
            param = text_param
        case SlotBusyError():
            kind = RefusalKind.BUSY
        case StateError():
            param = "filename"
        case _:
            kind = RefusalKind.FAILED
    return Refused(request_id=request_id, kind=kind, message=message, param=param)


def bug(request_id: str, error: BaseException) -> Refused:
    """The answer where the fault is ours."""
    text = f"{type(error).__name__}: {error}"
    return Refused(request_id=request_id, kind=RefusalKind.FAILED, message=text)


def text_param(task: Task) -> str:
    """Name the field that a task's texts or tokens came in."""
    match task:
        case Tokenize():
            return "content"
        case Detokenize():
            return "tokens"
        case Render():
            return "messages"
        case Embed():
            return "input"
        case Rank():
            return "documents"
        case _:
            return "model"
