"""Requests and answers of OpenAI's Responses API."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from server.api.schema.chat import ReasoningEffort
from server.api.schema.messages import FunctionName
from server.api.schema.sampling import LogprobCount, SamplingFields
from server.http.lenient_values import CLAMPED

Count = Annotated[int, Meta(ge=0)]
ItemStatus = Literal["in_progress", "completed", "incomplete"]


class InputText(msgspec.Struct, frozen=True, tag_field="type", tag="input_text"):
    """Text from the user, the system or a tool."""

    text: str


class OutputText(msgspec.Struct, frozen=True, tag_field="type", tag="output_text"):
    """Text from the model, earlier in the conversation."""

    text: str


class PlainText(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Text, with the type that chats use."""

    text: str


class Refusal(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    """A refusal of the model; treated like any other text."""

    refusal: str

    @property
    def text(self) -> str:
        """The refusal."""
        return self.refusal


class ReasoningText(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning_text"):
    """The model's reasoning."""

    text: str


class SummaryText(msgspec.Struct, frozen=True, tag_field="type", tag="summary_text"):
    """A summary of a model's reasoning."""

    text: str


class InputImage(msgspec.Struct, frozen=True, tag_field="type", tag="input_image"):
    """An image, for models with a projector; `detail` is accepted and has no effect."""

    image_url: str
    detail: str | None = None


TextPart = InputText | OutputText | PlainText | Refusal | ReasoningText
Part = InputText | OutputText | PlainText | Refusal | ReasoningText | InputImage


class InputItem(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a conversation; without a type it is a message.

    Fields by type: a message has role and content; a function_call has call_id, name and arguments;
    a function_call_output has call_id and output; reasoning has content or summary.
    """

    type: Literal["message", "function_call", "function_call_output", "reasoning"] | None = None
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | list[Part] | None = None
    call_id: str | None = None
    name: FunctionName | None = None
    arguments: str | None = None
    output: str | list[InputText | OutputText | InputImage] | None = None
    summary: list[SummaryText] | None = None


class ToolDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the model may call; `parameters` is a JSON schema.

    Tools of other types than "function" are left out.
    """

    type: str | None = "function"
    name: FunctionName | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolName(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool of the request, by its name; a tool that is not a function by its type."""

    type: str | None = None
    name: FunctionName | None = None


class ChosenResponseTools(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """With type "function" the function `name`, which must be called. With type "allowed_tools" the
    tools that may, or with mode "required" must, be called.
    """

    type: str
    name: FunctionName | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[ToolName] | None = None


ToolChoice = Literal["none", "auto", "required"] | ChosenResponseTools


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

    effort: ReasoningEffort | None = None


class ResponsesInput(SamplingFields, frozen=True, kw_only=True):
    """The conversation, its tools, and settings of the answer.

    llama-server's sampling fields are supported too. Fields that need stored responses are errors.
    """

    input: str | Annotated[list[InputItem], Meta(min_length=1)]
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
