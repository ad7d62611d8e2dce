"""Fields that chat requests of all OpenAI-like dialects share."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from server.api.schema.chat_tools import ToolEntry, offered_tools
from server.api.schema.continuation import with_continuation
from server.api.schema.left_out import LeftOut
from server.api.schema.messages import ChatMessage, wire_tools
from server.api.schema.sampling import LogprobCount, SamplingFields
from server.api.schema.tool_choice import ToolChoice, choose
from server.api.schema.tool_history import CallHistory
from server.errors import InvalidRequestError
from server.protocol.job import EFFORTS, ChatPrompt, Job

ReasoningFormat = Literal["none", "auto", "deepseek", "deepseek-legacy"]
# Fields of OpenAI that would change the answer, and what to do.
_WITHOUT_EFFECT: Final = (
    ("functions", "send the functions as tools"),
    ("function_call", "send it as tool_choice"),
    ("audio", "answers are text"),
    ("web_search_options", "this server does not search the web"),
)
Continuation = bool | Literal["content", "reasoning_content"]


class NamedSchema(msgspec.Struct, frozen=True):
    """A JSON schema that the answer must follow, in OpenAI's wrapping.

    A keyword that cannot be enforced is an error with `strict`, otherwise ignored with a warning.
    """

    schema: dict[str, Any]
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, frozen=True):
    """The format of the answer; `schema` beside `json_object` is llama-server's form."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None
    schema: dict[str, Any] | None = None

    @property
    def is_strict(self) -> bool:
        """Whether a keyword that cannot be enforced is an error."""
        return bool(self.json_schema and self.json_schema.strict)

    def to_schema(self) -> dict[str, Any] | None:
        """The JSON schema that the answer must follow, if any. Raises InvalidRequestError."""
        if self.type == "text":
            return None
        if self.type == "json_object":
            return self.schema or {"type": "object"}
        if self.json_schema is None and self.schema is None:
            param = "response_format.json_schema"
            raise InvalidRequestError(f"field '{param}' is required", param=param)
        return self.json_schema.schema if self.json_schema else self.schema


class ChatFields(SamplingFields, frozen=True, kw_only=True):
    """Fields of a chat request."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    tools: list[ToolEntry] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_format: ReasoningFormat | None = None
    reasoning_effort: str | None = None
    enable_thinking: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: Continuation | None = None
    logprobs: bool | None = None
    top_logprobs: LogprobCount | None = None
    n_probs: LogprobCount | None = None
    functions: Any = None
    function_call: Any = None
    audio: Any = None
    web_search_options: Any = None

    def to_job(self, caller: str = "") -> Job:
        """The request as a Job. Raises InvalidRequestError, InvalidParameterError."""
        return Job(
            prompt=self._prompt(), logprobs=self._n_logprobs(), caller=caller, **self.job_fields()
        )

    def _prompt(self) -> ChatPrompt:
        left_out = LeftOut()
        for name, instead in _WITHOUT_EFFECT:
            if getattr(self, name) is not None:
                left_out.warn(f"{name} is ignored: {instead}")
        offered = offered_tools(self.tools, left_out)
        tools, choice = choose(offered.tools(), self.tool_choice, left_out)
        _check_results(self.messages, left_out)
        messages = [
            message.to_wire(f"messages[{index}]", left_out)
            for index, message in enumerate(self.messages)
        ]
        # As in llama-server, the assistant's last message is continued unless a field forbids it.
        continues = self.continue_final_message
        if continues is None and not self.add_generation_prompt:
            messages, continues = with_continuation(messages, self._schema(), left_out)
        return ChatPrompt(
            messages=messages,
            tools=wire_tools(tools),
            tool_choice=choice,
            parallel_tool_calls=self.parallel_tool_calls,
            json_schema=self._schema(),
            lenient_schema=not (self.response_format and self.response_format.is_strict),
            reasoning_format=self.reasoning_format,
            reasoning_effort=known_effort(self.reasoning_effort, "reasoning_effort", left_out),
            enable_thinking=self.enable_thinking,
            chat_template_kwargs=self.chat_template_kwargs,
            add_generation_prompt=self.add_generation_prompt,
            continue_final_message=continues,
            warnings=left_out.warnings,
            tool_forms=offered.forms(),
        )

    def _schema(self) -> dict[str, Any] | None:
        schema = self.response_format.to_schema() if self.response_format else None
        if schema is not None and self.json_schema is not None:
            raise InvalidRequestError(
                "field 'json_schema': cannot be used together with response_format",
                param="json_schema",
            )
        return self.json_schema if schema is None else schema

    def _n_logprobs(self) -> int | None:
        """How many likeliest tokens to return beside each token; None for no log-probabilities."""
        if self.top_logprobs and not self.logprobs:
            raise InvalidRequestError(
                "field 'top_logprobs': requires logprobs: true", param="top_logprobs"
            )
        if self.logprobs:
            return self.top_logprobs or self.n_probs or 0
        return self.n_probs or None


def known_effort(effort: str | None, param: str, left_out: LeftOut) -> str | None:
    """A level of reasoning; for one that no template knows a warning, and the template's own."""
    if effort is None or effort in EFFORTS:
        return effort
    known = ", ".join(EFFORTS)
    left_out.warn(f"{param} is ignored: {effort[:32]!r} is not one of {known}")
    return None


def _check_results(messages: list[ChatMessage], left_out: LeftOut) -> None:
    """Warn about tool results whose calls are missing."""
    history = CallHistory(left_out)
    for index, message in enumerate(messages):
        history.add_calls(call.id for call in message.tool_calls or ())
        if message.role == "tool":
            history.check_result(f"messages[{index}]", message.tool_call_id)
