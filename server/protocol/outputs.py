"""The output of an answer after one engine step, as a worker sends it to the server."""

from collections.abc import Iterable

import msgspec

from llamabind.request import Timings, Usage


class ToolCallPiece(msgspec.Struct, frozen=True, array_like=True):
    """A piece of the tool call `index`: first its id and name, then parts of its arguments."""

    index: int
    id: str | None
    name: str | None
    arguments: str


class LogprobEntry(msgspec.Struct, frozen=True, array_like=True):
    """A generated token, its bytes and log-probability, and the same for the likeliest tokens.

    `is_content` is False for tokens of reasoning, of tool calls and of their markup; `is_final` is
    True for probabilities after the samplers.
    """

    token: int
    piece: bytes
    logprob: float
    top: tuple[tuple[int, bytes, float], ...] = ()
    is_content: bool = True
    is_final: bool = False


_ENTRIES: msgspec.msgpack.Decoder[tuple[LogprobEntry, ...]] = msgspec.msgpack.Decoder(
    tuple[LogprobEntry, ...]
)


def pack_logprobs(entries: Iterable[LogprobEntry]) -> tuple[bytes, ...]:
    """Encode entries, if there are any: as objects they take ten times the memory."""
    packed = tuple(entries)
    return (msgspec.msgpack.encode(packed),) if packed else ()


def unpack_logprobs(parts: Iterable[bytes]) -> tuple[LogprobEntry, ...]:
    """Decode the entries of several parts, in order."""
    return tuple(entry for part in parts for entry in _ENTRIES.decode(part))


class PromptProgress(msgspec.Struct, frozen=True, array_like=True):
    """Prefill of a prompt: `processed` of `total` tokens are done, `cached` of them reused."""

    total: int
    cached: int
    processed: int
    time_ms: float


class WireUsage(Usage, frozen=True, array_like=True):
    """llamabind's token counts of one answer, encoded as an array to keep frames small."""


class WireTimings(Timings, frozen=True, array_like=True):
    """llamabind's times of one answer, in milliseconds."""


class EndDetails(msgspec.Struct, frozen=True, array_like=True):
    """What the last output of an answer adds: `truncated` if the context was too small for prompt
    and answer, and `prompt`, its tokens as text with special ones written out, if requested.
    """

    truncated: bool = False
    prompt: str | None = None


class SequenceOutput(msgspec.Struct, frozen=True, array_like=True):
    """New output of the answer `index` of a request, encoded as an array to keep frames small.

    `text` is content, without `reasoning` and `tool_calls`. `finish_reason` is a value of
    llamabind.request.FinishReason, or "tool_calls" if the model ended its answer with tool calls;
    `stop_string` is the request's stop string that ended it, if one did. The last output has
    `timings` and `seq_id`, the sequence id in whose KV cache the answer remains. `prompt_logprobs`
    begin with the prompt's first token, which has no prediction: its log-probability is 0.
    `details` are in the last output, if there are any.
    `error_code` is machine-readable, `error` a sentence, `error_param` the field at fault, if any.
    """

    request_id: str
    index: int
    text: str
    usage: WireUsage
    finish_reason: str | None = None
    timings: WireTimings | None = None
    error: str | None = None
    error_code: str | None = None
    reasoning: str = ""
    tool_calls: tuple[ToolCallPiece, ...] = ()
    packed_logprobs: tuple[bytes, ...] = ()
    packed_prompt_logprobs: tuple[bytes, ...] = ()
    token_ids: tuple[int, ...] = ()
    stop_string: str | None = None
    progress: PromptProgress | None = None
    seq_id: int | None = None
    error_param: str | None = None
    details: EndDetails | None = None

    @property
    def logprobs(self) -> tuple[LogprobEntry, ...]:
        """The entries of the new tokens; each call decodes them."""
        return unpack_logprobs(self.packed_logprobs)

    @property
    def prompt_logprobs(self) -> tuple[LogprobEntry, ...]:
        """The entries of the prompt's tokens; each call decodes them."""
        return unpack_logprobs(self.packed_prompt_logprobs)
