"""Requests and answers of Anthropic's Messages API."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from server.api.schema.messages import CalledName, FunctionName
from server.api.schema.sampling import SamplingFields
from server.http.body.lenient_values import CLAMPED, CONTENT

Count = Annotated[int, Meta(ge=0)]


class TextBlock(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Text in an answer."""

    text: str


class ThinkingBlock(msgspec.Struct, frozen=True, tag_field="type", tag="thinking"):
    """The assistant's reasoning in an answer; `signature` is empty."""

    thinking: str
    signature: str | None = None


class ToolUseBlock(msgspec.Struct, frozen=True, tag_field="type", tag="tool_use"):
    """A tool call in an answer."""

    id: str
    name: FunctionName
    input: dict[str, Any]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The file of an image or a document: base64, a URL, a text, or a content of blocks.

    The type of an image is detected from the file, not `media_type`.
    """

    type: str | None = None
    data: str | None = None
    url: str | None = None
    media_type: str | None = None
    content: "str | list[Block] | None" = None


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One block of a content; its `type` says which fields it has, "text" without one.

    Text, thinking, images and texts of documents, calls of tools, also of Anthropic's own, with
    their results become messages of the chat; blocks of other types are left out with a warning.
    docs/dialects.md has a table of all types.
    """

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    source: Source | str | None = None
    title: str | None = None
    url: str | None = None
    context: str | None = None
    id: str | None = None
    name: CalledName | None = None
    input: Any = None
    tool_use_id: str | None = None
    tool_name: str | None = None
    tool: "ToolChange | None" = None
    content: "Annotated[str | list[Block] | dict[str, Any] | None, Meta(extra=CONTENT)]" = None
    is_error: bool | None = None

    @property
    def kind(self) -> str:
        """The type."""
        return self.type or "text"


class SystemBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A text of the system message; blocks of other types are left out with a warning."""

    type: str | None = None
    text: str | None = None


class AnthropicTool(msgspec.Struct, frozen=True):
    """A tool that the model may call; `input_schema` is a JSON schema.

    Tools of other types than "custom", which run on Anthropic's servers, and tools without a schema
    are left out. A tool with `defer_loading` is offered once the conversation refers to it.
    """

    name: FunctionName | None = None
    input_schema: dict[str, Any] | None = None
    description: str | None = None
    type: str | None = None
    strict: bool | None = None
    defer_loading: bool | None = None


class ToolChange(msgspec.Struct, frozen=True, kw_only=True):
    """The tool of a `tool_addition` or `tool_removal`: a name, or a definition."""

    type: str | None = None
    name: FunctionName | None = None
    definition: AnthropicTool | None = None


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation; a system message may contain text only."""

    role: Literal["user", "assistant", "system"]
    content: Annotated[str | list[Block] | None, Meta(extra=CONTENT)] = None


class ToolChoice(msgspec.Struct, frozen=True):
    """Whether a tool may, must or must not be called; `name` belongs to type "tool"."""

    type: Literal["auto", "any", "tool", "none"]
    name: FunctionName | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct, frozen=True):
    """Whether the model reasons before its answer, and the maximum number of reasoning tokens.

    All types but "disabled" let it reason.
    """

    type: str
    budget_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1, extra=CLAMPED)] | None = None


class OutputFormat(msgspec.Struct, frozen=True):
    """A JSON schema that the answer must follow."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct, frozen=True):
    """The format of the answer, and the amount of reasoning before it."""

    format: OutputFormat | None = None
    effort: str | None = None


class Conversation(SamplingFields, frozen=True, kw_only=True):
    """The conversation, its tools, and settings of the answer.

    llama-server's sampling fields are supported too.
    """

    messages: Annotated[list[Message], Meta(min_length=1)]
    model: Annotated[str, Meta(min_length=1)] | None = None
    system: Annotated[str | list[SystemBlock] | None, Meta(extra=CONTENT)] = None
    tools: list[AnthropicTool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    thread: Any = None


class CountBody(Conversation, frozen=True, kw_only=True):
    """The body of POST /v1/messages/count_tokens."""


class MessagesBody(Conversation, frozen=True, kw_only=True):
    """The body of POST /v1/messages."""

    max_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1, extra=CLAMPED)]
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
