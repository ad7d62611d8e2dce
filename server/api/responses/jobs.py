"""Requests for responses as jobs: items become the messages of a chat."""

from typing import Any

from server.api.responses.conversation import wire_messages
from server.api.responses.schema import (
    AllowedTools,
    NamedToolChoice,
    ResponsesBody,
    ResponsesInput,
    ToolDefinition,
)
from server.api.schema.messages import FunctionDefinition, Tool, wire_tools
from server.api.schema.tool_choice import WireChoice, must_call, only_allowed
from server.errors import InvalidRequestError
from server.protocol.job import ChatPrompt, Job

LOGPROBS = "message.output_text.logprobs"
_NOT_STORED = "responses are not stored here; send the whole conversation as input"


def responses_job(body: ResponsesBody, caller: str) -> Job:
    """The request without its dialect. Raises InvalidRequestError, InvalidParameterError."""
    if body.background:
        raise _refused("background", _NOT_STORED)
    body.refuse_several()
    fields = body.job_fields()
    if body.max_output_tokens is not None:
        fields["max_tokens"] = body.max_output_tokens
    wants_logprobs = body.top_logprobs is not None or LOGPROBS in (body.include or ())
    logprobs = (body.top_logprobs or 0) if wants_logprobs else None
    return Job(prompt=chat_prompt(body), logprobs=logprobs, caller=caller, **fields)


def chat_prompt(body: ResponsesInput) -> ChatPrompt:
    """The conversation in the form of chats. Raises InvalidRequestError naming the item."""
    for name in ("previous_response_id", "conversation"):
        if getattr(body, name) is not None:
            raise _refused(name, _NOT_STORED)
    if body.prompt is not None:
        raise _refused("prompt", "prompts are not stored here; send instructions and input")
    tools = [_function(tool, f"tools[{place}]") for place, tool in enumerate(body.tools or ())]
    tools, choice = _chosen(tools, body)
    return ChatPrompt(
        messages=wire_messages(body.instructions, body.input),
        tools=wire_tools(tools),
        tool_choice=choice,
        parallel_tool_calls=body.parallel_tool_calls,
        json_schema=_schema(body),
        reasoning_effort=body.reasoning.effort if body.reasoning else None,
        chat_template_kwargs=body.chat_template_kwargs,
    )


def _function(tool: ToolDefinition, place: str) -> Tool:
    if tool.type not in ("function", None):
        raise _refused(
            f"{place}.type", f"{tool.type!r} tools do not run here; only 'function' is possible"
        )
    if tool.name is None:
        raise _refused(f"{place}.name", "is required")
    return Tool(FunctionDefinition(tool.name, tool.description, tool.parameters, tool.strict))


def _chosen(tools: list[Tool], body: ResponsesInput) -> tuple[list[Tool], WireChoice]:
    """The tools that may be called, and whether one must."""
    match body.tool_choice:
        case NamedToolChoice(name=name):
            only_allowed(tools, [name], "tool_choice.name")
            return tools, must_call(name)
        case AllowedTools(mode=mode, tools=allowed):
            names = [tool.name for tool in allowed]
            return only_allowed(tools, names, "tool_choice.tools"), mode
        case choice:
            return tools, choice


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
