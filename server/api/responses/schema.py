"""The documents of OpenAI's Responses API."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from server.api.schema.chat import ReasoningEffort
from server.api.schema.messages import FunctionName
from server.api.schema.sampling import LogprobCount, SamplingFields

Count = Annotated[int, Meta(ge=0)]
ItemStatus = Literal["in_progress", "completed", "incomplete"]


class InputText(msgspec.Struct, frozen=True, tag_field="type", tag="input_text"):
    """Text that somebody gave."""

    text: str


class OutputText(msgspec.Struct, frozen=True, tag_field="type", tag="output_text"):
    """Text that the model gave earlier."""

    text: str


class PlainText(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Text, as it is named in chats."""

    text: str


class Refusal(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    """What the model refused with; it is text like any other."""

    refusal: str

    @property
    def text(self) -> str:
        """What was said."""
        return self.refusal


class ReasoningText(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning_text"):
    """What the model thought."""

    text: str


class SummaryText(msgspec.Struct, frozen=True, tag_field="type", tag="summary_text"):
    """The short of what a model thought."""

    text: str


class InputImage(msgspec.Struct, frozen=True, tag_field="type", tag="input_image"):
    """A picture, for models with a projector; `detail` is taken and makes no difference."""

    image_url: str
    detail: str | None = None


TextPart = InputText | OutputText | PlainText | Refusal | ReasoningText
Part = InputText | OutputText | PlainText | Refusal | ReasoningText | InputImage


class InputItem(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a conversation. Without a type it is a message; which fields count depends on it:
    role and content; call_id, name and arguments; call_id and output; content or summary.
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

    Only functions can be called; tools of other types are left out.
    """

    type: str | None = "function"
    name: FunctionName | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolName(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of the tools of the request; without a name one of another type than "function"."""

    type: str | None = None
    name: FunctionName | None = None


class ChosenResponseTools(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The one function that must be called, by its name; or with the type "allowed_tools" those of
    the request that may, or must be called now.
    """

    type: str
    name: FunctionName | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[ToolName] | None = None


ToolChoice = Literal["none", "auto", "required"] | ChosenResponseTools


class TextFormat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the answer must look like.

    With `strict` a keyword of the schema that cannot be enforced is an error, else a warning.
    """

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class TextConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The form of the answer; a verbosity is ignored."""

    format: TextFormat | None = None


class Reasoning(msgspec.Struct, frozen=True, kw_only=True):
    """How much the model thinks first. There are no summaries: the thoughts come whole."""

    effort: ReasoningEffort | None = None


class ResponsesInput(SamplingFields, frozen=True, kw_only=True):
    """What is said before the answer, and what may be called in it.

    llama-server's sampling fields work too. Fields that ask for stored responses are an error.
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

    max_output_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    include: list[str] | None = None
    top_logprobs: LogprobCount | None = None
    metadata: dict[str, str] | None = None
    background: bool | None = None
    stream: bool | None = None


class ResponseUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts; those that came from a cache and those of thoughts are in the totals."""

    input_tokens: Count
    input_tokens_details: dict[str, Count]
    output_tokens: Count
    output_tokens_details: dict[str, Count]
    total_tokens: Count


class IncompleteDetails(msgspec.Struct, frozen=True):
    """Why a response has no proper end."""

    reason: Literal["max_output_tokens"]


class ResponseDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A response. What the request said is repeated in more keys than these."""

    id: str
    object: Literal["response"]
    created_at: int
    model: str
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    error: dict[str, str] | None
    incomplete_details: IncompleteDetails | None
    output: list[dict[str, Any]]
    usage: ResponseUsage | None
    metadata: dict[str, str]
