"""Every exception llamabind raises on purpose.

LlamaError
├── LibraryError                the native libraries cannot be used
│   ├── LibraryNotFoundError    no library at the expected path
│   ├── LibraryMismatchError    a library of another llama.cpp build
│   ├── UnsupportedCpuError     this CPU lacks instructions that the libraries need
│   └── SymbolMissingError      the library does not export a function (also AttributeError)
├── HandleClosedError           an object was used after close()
├── InvalidParameterError       a value out of range; names the field (also ValueError)
├── GgufError                   a file is damaged or not a GGUF file
├── ModelLoadError              a model file could not be loaded; carries a machine-readable reason
│   ├── RpcServerError          an RPC server does not answer, is busy or has another version
│   └── LoadCancelledError      the progress callback returned False
├── ContextCreateError          a context could not be made from a loaded model
├── AdapterError                a LoRA adapter could not be loaded or applied
├── ProjectorError              the projector of a multimodal model could not be loaded or used
├── TokenizeError               the vocabulary cannot convert a text or token ids
├── DecodeError                 llama_decode or llama_encode returned an error code:
│   ├── NoKvSlotError           1: too few free KV cells for the batch; KV cache unchanged
│   ├── DecodeAbortedError      2: aborted; computed ubatches stay in the KV cache
│   ├── InvalidBatchError       -1: the batch is invalid; KV cache unchanged
│   └── DecodeFailedError       below -1: fatal; computed ubatches stay in the KV cache
├── StateError                  a saved state could not be written or restored
│   └── SlotFileError           the file system refused to write a slot file
├── GrammarError                llama.cpp refuses a grammar, trigger pattern or JSON schema
├── ChatTemplateError           a chat template cannot be parsed or rendered
│   ├── TemplateRefusedError    the template itself called raise_exception
│   └── RenderStoppedError      rendering took too long, or its request was cancelled
├── MissingLibraryError         a library that decodes images or audio is not installed
├── PromptTooLongError          a prompt is longer than the context; both sizes are attributes
│   └── InputTooLongError       an input to embed is longer than n_ubatch or n_ctx
├── EngineStoppedError          the engine was closed or has failed and accepts no requests
├── HostMemoryError             native code could not allocate host memory (also MemoryError)
├── SlotBusyError               a slot is in use by a running request; try again later
└── QueueFullError              the queue has reached its limit; try again later
"""

import errno
from typing import Final

OTHER_BUILD: Final = (
    "build llamabind on this machine (in its checkout: pip install --force-reinstall --no-deps .), "
    "or install the wheel for all CPUs that scripts/build_wheel makes"
)
"""What to do when the libraries were built for another CPU: the end of an error message."""

_MAX_NAMED: Final = 4


class LlamaError(Exception):
    """Base of all llamabind exceptions."""


class LibraryError(LlamaError):
    """The native libraries cannot be used."""


class LibraryNotFoundError(LibraryError):
    """No library at the expected path."""


class LibraryMismatchError(LibraryError):
    """The library was built from another llama.cpp version than these bindings describe."""


class UnsupportedCpuError(LibraryError):
    """This CPU lacks instructions that the libraries were built with; no library was opened.

    `missing` names the instruction sets, `reason` is "unsupported_cpu".
    """

    reason: Final = "unsupported_cpu"

    def __init__(self, built_for: str, cpu: str, missing: tuple[str, ...]) -> None:
        named = ", ".join(missing[:_MAX_NAMED])
        if len(missing) > _MAX_NAMED:
            named += f" and {len(missing) - _MAX_NAMED} more instruction sets"
        this = f"this one ({cpu})" if cpu else "this one"
        super().__init__(
            f"the native libraries were built for a CPU with {built_for}, and {this} lacks "
            f"{named}; {OTHER_BUILD}"
        )
        self.missing = missing


class SymbolMissingError(LibraryError, AttributeError):
    """The loaded library does not export a function that the bindings need."""


class HandleClosedError(LlamaError):
    """An object was used after its close()."""


class InvalidParameterError(LlamaError, ValueError):
    """A value is out of range or of the wrong kind.

    `field` is the parameter's public name, which a server can return to its client.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class GgufError(LlamaError):
    """A file is damaged or is not a GGUF file; the message gives the reason."""


class ModelLoadError(LlamaError):
    """A model file could not be loaded.

    `reason` is out_of_memory, unsupported_architecture, corrupt_file, missing_shard, missing_file,
    cancelled, unknown, or one of RpcServerError's (see docs/models.md).
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class RpcServerError(ModelLoadError):
    """An RPC server cannot be used.

    `reason` is rpc_server_lost (it does not answer), rpc_server_busy (it serves another client) or
    rpc_server_mismatch (it has another version of the protocol).
    """


class LoadCancelledError(ModelLoadError):
    """The progress callback returned False."""

    def __init__(self, detail: str = "the load was cancelled") -> None:
        super().__init__("cancelled", detail)


class ContextCreateError(LlamaError):
    """A context could not be made from a loaded model.

    `reason` is out_of_memory, or invalid_parameter if the model does not support the settings.
    """

    def __init__(self, message: str, reason: str = "invalid_parameter") -> None:
        super().__init__(message)
        self.reason = reason


class AdapterError(LlamaError):
    """A LoRA adapter could not be loaded or applied."""


class ProjectorError(LlamaError):
    """The projector of a multimodal model could not be loaded, or could not encode a medium."""


class MissingLibraryError(LlamaError):
    """A Python library that decodes a kind of file is not installed."""

    def __init__(self, kind: str, libraries: str) -> None:
        super().__init__(
            f"to decode {kind}, install {libraries}, which this machine lacks: "
            "pip install 'llamabind[media]'"
        )


class TokenizeError(LlamaError):
    """The vocabulary cannot convert a text to tokens, or token ids to text."""


class DecodeError(LlamaError):
    """llama_decode or llama_encode returned the error code `code`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class NoKvSlotError(DecodeError):
    """The KV cache has too few free cells for this batch; it is unchanged."""


class DecodeAbortedError(DecodeError):
    """The abort callback stopped the decode; computed ubatches remain in the KV cache."""


class InvalidBatchError(DecodeError):
    """llama.cpp rejected the batch as invalid; the KV cache is unchanged."""


class DecodeFailedError(DecodeError):
    """A fatal error; computed ubatches remain in the KV cache."""


class StateError(LlamaError):
    """A saved state could not be written or restored."""


class SlotFileError(StateError):
    """The file system refused to write a slot file; `is_full` if space or quota is used up."""

    def __init__(self, message: str, *, is_full: bool) -> None:
        super().__init__(message)
        self.is_full = is_full


class GrammarError(LlamaError):
    """llama.cpp refuses a grammar, trigger pattern or JSON schema, or no token can continue it."""


class ChatTemplateError(LlamaError):
    """A chat template cannot be parsed or rendered."""


class TemplateRefusedError(ChatTemplateError):
    """The template called raise_exception; the message is the template's own."""


class RenderStoppedError(ChatTemplateError):
    """Rendering and tokenising took longer than its limit, or its request was cancelled."""


class PromptTooLongError(LlamaError):
    """A prompt is longer than the context, so it can never be computed.

    With `is_estimate` the text was too long to tokenise: `n_prompt_tokens` is a lower bound.
    """

    def __init__(self, n_prompt_tokens: int, n_ctx: int, *, is_estimate: bool = False) -> None:
        count = f"at least {n_prompt_tokens}" if is_estimate else f"{n_prompt_tokens}"
        super().__init__(f"the prompt of {count} tokens does not fit the context of {n_ctx} tokens")
        self.n_prompt_tokens = n_prompt_tokens
        self.n_ctx = n_ctx


class InputTooLongError(PromptTooLongError):
    """An input to embed is longer than the limit, so it can never be computed.

    `limit_name` is the parameter that sets the limit, "n_ubatch" or "n_ctx"; the attribute `n_ctx`
    is its value in tokens in both cases.
    """

    def __init__(self, n_prompt_tokens: int, limit: int, limit_name: str) -> None:
        super().__init__(n_prompt_tokens, limit)
        self.limit_name = limit_name

    def __str__(self) -> str:
        return (
            f"the input of {self.n_prompt_tokens} tokens is too large for "
            f"{self.limit_name} of {self.n_ctx} tokens"
        )


class EngineStoppedError(LlamaError):
    """The engine was closed or has failed and accepts no requests."""


class HostMemoryError(LlamaError, MemoryError):
    """Native code could not allocate host memory: the process has reached a limit (`ulimit -v`, a
    container's), or the machine has no more.
    """


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, of Python or of llamabind, says that host memory is exhausted."""
    text = str(error)
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM or "malloc failure" in text  # OpenSSL's
    # Python's only sign that the stack of a thread could not be allocated.
    is_thread = isinstance(error, RuntimeError) and "can't start new thread" in text
    # The dynamic linker's, for a module in C.
    is_import = isinstance(error, ImportError) and (
        "failed to map segment" in text or "annot allocate memory" in text
    )
    return is_thread or is_import or isinstance(error, MemoryError)


class SlotBusyError(LlamaError):
    """A running request uses the slot, or running requests hold the KV cells that it needs."""


class QueueFullError(LlamaError):
    """The queue has reached its limit of waiting requests."""

    def __init__(self, n_waiting: int, limit: int) -> None:
        super().__init__(f"the queue is full ({n_waiting} waiting, limit {limit}); try again later")
        self.n_waiting = n_waiting
        self.limit = limit
