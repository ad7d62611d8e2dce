"""Requests and answers of OpenAI's Responses API."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from server.api.schema.content import ContentPart
from server.api.schema.messages import CalledName, FunctionDefinition, FunctionName
from server.api.schema.offered_tools import InputFormat
from server.api.schema.sampling import LogprobCount, SamplingFields
from server.http.body.lenient_values import CLAMPED, CONTENT

Count = Annotated[int, Meta(ge=0)]


class OutputPart(ContentPart, frozen=True, kw_only=True):
    """One part of a tool's result: a text, an image, a file, or the output of a shell command."""

    stdout: str | None = None
    stderr: str | None = None


class SummaryText(msgspec.Struct, frozen=True, kw_only=True):
    """A summary of a model's reasoning."""

    text: str | None = None


class ToolDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the model may call; `parameters` is a JSON schema.

    Fields by type: a function has name and parameters; a custom tool has name and the format of its
    text; a namespace has name and tools, which are functions and custom tools. Tools of other types
    are left out. A tool with `defer_loading` is offered once the conversation names it. A function
    may have the form of Chat Completions, with its fields in `function`.
    """

    type: str | None = "function"
    name: FunctionName | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: InputFormat | None = None
    tools: "list[ToolDefinition] | None" = None
    defer_loading: bool | None = None
    function: FunctionDefinition | None = None


class InputItem(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a conversation; without a type it is a message.

    Messages, reasoning, and calls of tools with their results become messages of the chat; items of
    other types are left out with a warning. docs/dialects.md has a table of all types.
    """

    type: str | None = None
    id: str | None = None
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: Annotated[str | list[ContentPart] | None, Meta(extra=CONTENT)] = None
    call_id: str | None = None
    name: CalledName | None = None
    namespace: str | None = None
    arguments: Any = None
    input: str | None = None
    action: dict[str, Any] | None = None
    actions: list[Any] | None = None
    operation: dict[str, Any] | None = None
    code: str | None = None
    queries: list[str] | None = None
    results: list[dict[str, Any]] | None = None
    outputs: list[dict[str, Any]] | None = None
    output: Annotated[str | list[OutputPart] | dict[str, Any] | None, Meta(extra=CONTENT)] = None
    result: str | None = None
    status: str | None = None
    error: Any = None
    summary: str | list[SummaryText] | None = None
    encrypted_content: str | None = None
    tools: list[ToolDefinition] | None = None


class ToolName(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool of the request, by its name; a tool without a name by its type."""

    type: str | None = None
    name: FunctionName | None = None
    namespace: str | None = None


class ChosenResponseTools(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """With type "function" or "custom" the tool `name`, which must be called. With type
    "allowed_tools" the tools that may, or with mode "required" must, be called.
    """

    type: str
    name: FunctionName | None = None
    namespace: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[ToolName] | None = None


ToolChoice = Literal["none", "auto", "required", "any"] | ChosenResponseTools


class TextFormat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The format of the answer.

    A keyword of the schema that cannot be enforced is an error with `strict`, otherwise a warning.
    """

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class TextConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The format of the answer; a `verbosity` is ignored."""

    format: TextFormat | None = None


class Reasoning(msgspec.Struct, frozen=True, kw_only=True):
    """The amount of reasoning before the answer. It is returned whole, without summaries."""

    effort: str | None = None


class ResponsesInput(SamplingFields, frozen=True, kw_only=True):
    """The conversation, its tools, and settings of the answer.

    llama-server's sampling fields are supported too. Fields that need stored responses are errors.
    """

    input: str | list[InputItem] | None = None
    model: Annotated[str, Meta(min_length=1)] | None = None
    instructions: str | None = None
    tools: list[ToolDefinition] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    previous_response_id: Any = None
    conversation: Any = None
    prompt: Any = None


class InputTokensBody(ResponsesInput, frozen=True, kw_only=True):
    """The body of POST /v1/responses/input_tokens."""


class ResponsesBody(ResponsesInput, frozen=True, kw_only=True):
    """The body of POST /v1/responses."""

    max_output_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1, extra=CLAMPED)] | None = None
    include: list[str] | None = None
    top_logprobs: LogprobCount | None = None
    metadata: dict[str, Any] | None = None
    background: bool | None = None
    stream: bool | None = None


class ResponseUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts; the totals include cached and reasoning tokens."""

    input_tokens: Count
    input_tokens_details: dict[str, Count]
    output_tokens: Count
    output_tokens_details: dict[str, Count]
    total_tokens: Count


class IncompleteDetails(msgspec.Struct, frozen=True):
    """The reason why a response is incomplete."""

    reason: Literal["max_output_tokens"]


class ResponseDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A response. Further keys repeat settings of the request."""

    id: str
    object: Literal["response"]
    created_at: int
    model: str
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    error: dict[str, str] | None
    incomplete_details: IncompleteDetails | None
    output: list[dict[str, Any]]
    usage: ResponseUsage | None
    metadata: dict[str, Any]
