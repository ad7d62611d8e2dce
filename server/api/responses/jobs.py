"""Converts requests for responses to jobs: items become the messages of a chat."""

from typing import Any

from server.api.responses.conversation import NOT_STORED, wire_messages
from server.api.responses.schema import (
    ChosenResponseTools,
    ResponsesBody,
    ResponsesInput,
    ToolChoice,
)
from server.api.responses.tools import offered_tools
from server.api.schema.chat import known_effort
from server.api.schema.left_out import LeftOut
from server.api.schema.messages import Tool, wire_tools
from server.api.schema.offered_tools import OfferedTools
from server.api.schema.tool_choice import (
    MODES,
    WireChoice,
    must_call,
    names_of,
    no_function,
    only_allowed,
    with_mode,
)
from server.errors import InvalidRequestError
from server.protocol.job import ChatPrompt, Job

LOGPROBS = "message.output_text.logprobs"


def responses_job(body: ResponsesBody, caller: str) -> Job:
    """The request as a Job. Raises InvalidRequestError, InvalidParameterError."""
    if body.background:
        raise _refused("background", NOT_STORED)
    body.refuse_several()
    fields = body.job_fields()
    if body.max_output_tokens is not None:
        fields["max_tokens"] = body.max_output_tokens
    wants_logprobs = body.top_logprobs is not None or LOGPROBS in (body.include or ())
    logprobs = (body.top_logprobs or 0) if wants_logprobs else None
    return Job(prompt=chat_prompt(body), logprobs=logprobs, caller=caller, **fields)


def chat_prompt(body: ResponsesInput) -> ChatPrompt:
    """The conversation as a chat. Raises InvalidRequestError naming the item."""
    for name in ("previous_response_id", "conversation"):
        if getattr(body, name) is not None:
            raise _refused(name, NOT_STORED)
    if body.prompt is not None:
        raise _refused("prompt", "this server stores no prompts; send instructions and input")
    left_out = LeftOut()
    offered = offered_tools(body, left_out)
    messages = wire_messages(body.instructions, body.input, offered, left_out)
    tools, choice = _chosen(offered, body.tool_choice, left_out)
    return ChatPrompt(
        messages=messages,
        tools=wire_tools(tools),
        tool_choice=choice,
        parallel_tool_calls=body.parallel_tool_calls,
        json_schema=_schema(body),
        lenient_schema=not (body.text and body.text.format and body.text.format.strict),
        reasoning_effort=known_effort(
            body.reasoning.effort if body.reasoning else None, "reasoning.effort", left_out
        ),
        chat_template_kwargs=body.chat_template_kwargs,
        warnings=left_out.warnings,
        tool_forms=offered.forms(),
    )


def _chosen(
    offered: OfferedTools, choice: ToolChoice | None, left_out: LeftOut
) -> tuple[list[Tool], WireChoice]:
    """The tools that may be called, and the choice. Raises InvalidRequestError."""
    tools = offered.tools()
    if not isinstance(choice, ChosenResponseTools):
        return with_mode(tools, choice, left_out)
    if choice.type in ("function", "custom"):
        if choice.name is None:
            raise _refused("tool_choice.name", "is required")
        name = offered.wire_name(choice.name, choice.namespace)
        if left_out.lacks_choice("tool_choice", name, names_of(tools)):
            return tools, None
        only_allowed(tools, [name], "tool_choice.name")
        return tools, must_call(name)
    if choice.type in MODES:
        return with_mode(tools, choice.type, left_out)
    if choice.type != "allowed_tools":
        left_out.warn(no_function(choice.type))
        return tools, None
    if choice.tools is None:
        raise _refused("tool_choice.tools", "is required")
    param = "tool_choice.tools"
    named = [
        offered.wire_name(one.name, one.namespace) if one.name else one.type or ""
        for one in choice.tools or ()
    ]
    names = left_out.without(named, param, names_of(tools))
    return with_mode(only_allowed(tools, names, param), choice.mode or "auto", left_out)


def _schema(body: ResponsesInput) -> dict[str, Any] | None:
    form = body.text.format if body.text else None
    if form is None or form.type == "text":
        return body.json_schema
    if body.json_schema is not None:
        raise _refused("json_schema", "cannot be used together with text.format")
    if form.type == "json_object":
        return {"type": "object"}
    if form.schema is None:
        raise _refused("text.format.schema", "is required")
    return form.schema


def _refused(param: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"field '{param}': {why}", param=param)
