"""Requests and answers of Anthropic's Messages API."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from server.api.schema.chat import ReasoningEffort
from server.api.schema.messages import FunctionName
from server.api.schema.sampling import SamplingFields
from server.http.lenient_values import CLAMPED

Count = Annotated[int, Meta(ge=0)]


class TextBlock(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Text."""

    text: str


class ImageSource(msgspec.Struct, frozen=True):
    """An image in base64 or by URL; its type is detected from the file, not `media_type`."""

    type: Literal["base64", "url"]
    data: str | None = None
    url: str | None = None
    media_type: str | None = None


class ImageBlock(msgspec.Struct, frozen=True, tag_field="type", tag="image"):
    """An image, for models with a projector."""

    source: ImageSource


class ThinkingBlock(msgspec.Struct, frozen=True, tag_field="type", tag="thinking"):
    """The assistant's reasoning; `signature` is empty in answers and ignored in requests."""

    thinking: str
    signature: str | None = None


class HiddenThinkingBlock(msgspec.Struct, frozen=True, tag_field="type", tag="redacted_thinking"):
    """Reasoning that only Anthropic can read; it is ignored."""

    data: str | None = None


class ToolUseBlock(msgspec.Struct, frozen=True, tag_field="type", tag="tool_use"):
    """A tool call by the assistant."""

    id: str
    name: FunctionName
    input: dict[str, Any]


class ToolResultBlock(msgspec.Struct, frozen=True, tag_field="type", tag="tool_result"):
    """The result of a tool call."""

    tool_use_id: str
    content: str | list[TextBlock | ImageBlock] | None = None
    is_error: bool | None = None


Block = (
    TextBlock | ImageBlock | ThinkingBlock | HiddenThinkingBlock | ToolUseBlock | ToolResultBlock
)


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation; a system message may contain text only."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class AnthropicTool(msgspec.Struct, frozen=True):
    """A tool that the model may call; `input_schema` is a JSON schema.

    Tools of other types than "custom", which run on Anthropic's servers, and tools without a schema
    are left out.
    """

    name: FunctionName | None = None
    input_schema: dict[str, Any] | None = None
    description: str | None = None
    type: str | None = None
    strict: bool | None = None


class ToolChoice(msgspec.Struct, frozen=True):
    """Whether a tool may, must or must not be called; `name` belongs to type "tool"."""

    type: Literal["auto", "any", "tool", "none"]
    name: FunctionName | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct, frozen=True):
    """Whether the model reasons before its answer, and the maximum number of reasoning tokens."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1, extra=CLAMPED)] | None = None


class OutputFormat(msgspec.Struct, frozen=True):
    """A JSON schema that the answer must follow."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct, frozen=True):
    """The format of the answer, and the amount of reasoning before it."""

    format: OutputFormat | None = None
    effort: ReasoningEffort | None = None


class Conversation(SamplingFields, frozen=True, kw_only=True):
    """The conversation, its tools, and settings of the answer.

    llama-server's sampling fields are supported too.
    """

    messages: Annotated[list[Message], Meta(min_length=1)]
    model: Annotated[str, Meta(min_length=1)] | None = None
    system: str | list[TextBlock] | None = None
    tools: list[AnthropicTool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None


class CountBody(Conversation, frozen=True, kw_only=True):
    """The body of POST /v1/messages/count_tokens."""


class MessagesBody(Conversation, frozen=True, kw_only=True):
    """The body of POST /v1/messages."""

    max_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1, extra=CLAMPED)]
    stop_sequences: tuple[str, ...] | None = None
    stream: bool | None = None


class CountDocument(msgspec.Struct, frozen=True):
    """The answer of POST /v1/messages/count_tokens."""

    input_tokens: Count


class MessageDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[TextBlock | ThinkingBlock | ToolUseBlock]
    stop_reason: Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]
    stop_sequence: str | None
    usage: dict[str, Count]
