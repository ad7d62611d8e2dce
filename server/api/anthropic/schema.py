"""The documents of Anthropic's Messages API."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from server.api.schema.chat import ReasoningEffort
from server.api.schema.messages import FunctionName
from server.api.schema.sampling import SamplingFields

Count = Annotated[int, Meta(ge=0)]


class TextBlock(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Text."""

    text: str


class ImageSource(msgspec.Struct, frozen=True):
    """Where a picture is; its kind is seen in the file."""

    type: Literal["base64", "url"]
    data: str | None = None
    url: str | None = None
    media_type: str | None = None


class ImageBlock(msgspec.Struct, frozen=True, tag_field="type", tag="image"):
    """A picture, for models with a projector."""

    source: ImageSource


class ThinkingBlock(msgspec.Struct, frozen=True, tag_field="type", tag="thinking"):
    """What the assistant thought; `signature` is empty here, and not looked at."""

    thinking: str
    signature: str | None = None


class HiddenThinkingBlock(msgspec.Struct, frozen=True, tag_field="type", tag="redacted_thinking"):
    """Thoughts that only Anthropic can read; they are left out."""

    data: str | None = None


class ToolUseBlock(msgspec.Struct, frozen=True, tag_field="type", tag="tool_use"):
    """A call of a tool by the assistant."""

    id: str
    name: FunctionName
    input: dict[str, Any]


class ToolResultBlock(msgspec.Struct, frozen=True, tag_field="type", tag="tool_result"):
    """What a tool answered."""

    tool_use_id: str
    content: str | list[TextBlock | ImageBlock] | None = None
    is_error: bool | None = None


Block = (
    TextBlock | ImageBlock | ThinkingBlock | HiddenThinkingBlock | ToolUseBlock | ToolResultBlock
)


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation; one of the system has text only."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class AnthropicTool(msgspec.Struct, frozen=True):
    """A tool that the model may call; `input_schema` is a JSON schema.

    Tools that run at Anthropic have another type than "custom", and those that are loaded later no
    schema; they are left out.
    """

    name: FunctionName | None = None
    input_schema: dict[str, Any] | None = None
    description: str | None = None
    type: str | None = None
    strict: bool | None = None


class ToolChoice(msgspec.Struct, frozen=True):
    """Whether a tool may, must or must not be called; `name` goes with type tool."""

    type: Literal["auto", "any", "tool", "none"]
    name: FunctionName | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct, frozen=True):
    """Whether the model thinks first, and how long at most."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Count | None = None


class OutputFormat(msgspec.Struct, frozen=True):
    """A JSON schema that the answer follows."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct, frozen=True):
    """What the answer must look like, and how much thinking it may take."""

    format: OutputFormat | None = None
    effort: ReasoningEffort | None = None


class Conversation(SamplingFields, frozen=True, kw_only=True):
    """What is said before the answer, and what may be called in it.

    llama-server's sampling fields work too.
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

    max_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    stop_sequences: tuple[Annotated[str, Meta(min_length=1)], ...] | None = None
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
