"""What every chat request has, whatever its dialect: messages, sampling fields, limits."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from llamabind.sampling_params import RANDOM_SEED, SamplingParams, sampler_names
from server.errors import InvalidRequestError

Role = Literal["system", "developer", "user", "assistant", "tool"]
Temperature = Annotated[float, Meta(ge=0.0, le=2.0)]
TokenLimit = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
StopString = Annotated[str, Meta(min_length=1)]


class TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """The one kind of content part that a text model takes."""

    text: str


class FunctionCall(msgspec.Struct, frozen=True):
    """A called function; `arguments` is JSON text."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call that the assistant made earlier in the conversation."""

    function: FunctionCall
    id: str | None = None
    type: Literal["function"] | UnsetType = UNSET


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation. `content` may be null only beside tool calls."""

    role: Role
    content: str | list[TextPart] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None

    def to_wire(self, place: str) -> dict[str, Any]:
        """The message as the chat template gets it. Raises InvalidRequestError naming `place`."""
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            param = f"{place}.content"
            raise InvalidRequestError(f"field '{param}' is required", param=param)
        wire: dict[str, Any] = msgspec.to_builtins(self)
        # Templates know no developers; OpenAI's newer name for the same thing.
        wire["role"] = "system" if self.role == "developer" else self.role
        wire["content"] = _joined(self.content)
        for call in wire.get("tool_calls") or ():
            call["type"] = "function"
        return wire


class ChatFields(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of a chat request in llama-server's names. None (or null) is the default.

    Names that SamplingParams has too are passed on to it as they are.
    """

    messages: Annotated[list[ChatMessage], Meta(min_length=1)]

    temperature: Temperature | None = None
    top_p: float | None = None
    seed: int | None = None
    dynatemp_range: float | None = None
    dynatemp_exponent: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    top_n_sigma: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    repeat_last_n: int | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_penalty_last_n: int | None = None
    dry_sequence_breakers: tuple[str, ...] | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    adaptive_target: float | None = None
    adaptive_decay: float | None = None
    min_keep: int | None = None
    grammar: str | None = None
    ignore_eos: bool | None = None
    samplers: tuple[str, ...] | None = None

    stop: StopString | tuple[StopString, ...] | None = None
    n_predict: TokenLimit | None = None
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None

    def wire_messages(self) -> list[dict[str, Any]]:
        """The conversation as the chat template gets it. Raises InvalidRequestError."""
        return [
            message.to_wire(f"messages[{index}]") for index, message in enumerate(self.messages)
        ]

    def sampling_params(self) -> SamplingParams:
        """How to sample. Raises InvalidParameterError naming the field."""
        chosen = {
            name: value
            for name in SamplingParams.__dataclass_fields__
            if (value := getattr(self, name, None)) is not None
        }
        if self.samplers is not None:
            chosen["samplers"] = sampler_names(self.samplers)
        if self.seed == -1:  # llama-server's way to say random
            chosen["seed"] = RANDOM_SEED
        return SamplingParams(**chosen)

    def token_limit(self) -> int | None:
        """The most tokens to generate; None is until the model ends or the context does."""
        for limit in (self.n_predict, self.max_completion_tokens, self.max_tokens):
            if limit is not None:
                return None if limit == -1 else limit
        return None

    def stop_strings(self) -> tuple[str, ...]:
        """What ends the answer."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else self.stop


class StreamOptions(msgspec.Struct, frozen=True):
    """OpenAI's options of a stream."""

    include_usage: bool | None = None


def _joined(content: str | list[TextPart] | None) -> str | None:
    if isinstance(content, list):
        return "\n".join(part.text for part in content)
    return content
