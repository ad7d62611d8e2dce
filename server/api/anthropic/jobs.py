"""Converts Anthropic's requests to jobs: content blocks become messages in OpenAI's form."""

import dataclasses

from msgspec.structs import replace

from llamabind import SamplingParams
from server.api.anthropic.conversation import wire_messages
from server.api.anthropic.schema import (
    Conversation,
    MessagesBody,
    OutputConfig,
    Thinking,
    ToolChoice,
)
from server.api.anthropic.tools import offered_tools
from server.api.schema.chat import known_effort
from server.api.schema.continuation import with_continuation
from server.api.schema.left_out import LeftOut
from server.api.schema.messages import Tool, wire_tools
from server.api.schema.sampling_words import stops_of
from server.api.schema.tool_choice import WireChoice, must_call, names_of, with_mode
from server.errors import InvalidRequestError
from server.protocol.job import ChatPrompt, Job

_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_NO_THREADS = "field 'thread': this server stores no threads; send the whole conversation"
# The Anthropic SDK reads this and sends the whole conversation instead.
_THREAD_DETAILS = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}


def messages_job(body: MessagesBody, caller: str) -> Job:
    """The request as a Job. Raises InvalidRequestError, InvalidParameterError."""
    body.refuse_several()
    fields = body.job_fields()
    # Anthropic's required max_tokens overrides llama-server's fields for the same limit.
    fields["max_tokens"] = body.max_tokens
    fields["sampling"] = _with_budget(fields["sampling"], body.thinking)
    ignored: list[str] = []
    fields["stop"] += stops_of(body.stop_sequences, "stop_sequences", ignored)
    fields["ignored"] += tuple(ignored)
    prompt = chat_prompt(body)
    if body.json_schema is not None:
        prompt = replace(prompt, json_schema=body.json_schema)
    return Job(prompt=prompt, caller=caller, **fields)


def _with_budget(sampling: SamplingParams, thinking: Thinking | None) -> SamplingParams:
    """The sampling with Anthropic's budget, unless llama-server's field sets one."""
    budget = thinking.budget_tokens if thinking and thinking.type == "enabled" else None
    if budget is None or sampling.reasoning_budget_tokens >= 0:
        return sampling
    return dataclasses.replace(sampling, reasoning_budget_tokens=budget)


def chat_prompt(body: Conversation) -> ChatPrompt:
    """The conversation in OpenAI's form. Raises InvalidRequestError naming the message."""
    if body.thread is not None:
        error = InvalidRequestError(_NO_THREADS, param="thread")
        error.extra = {"details": _THREAD_DETAILS}
        raise error
    left_out = LeftOut()
    offered = offered_tools(body, left_out)
    choice = body.tool_choice
    tools = offered.tools()
    output = body.output_config or OutputConfig()
    form = output.format or body.output_format
    schema = form.schema if form else None
    messages = wire_messages(body.system, body.messages, left_out)
    messages, continues = with_continuation(messages, schema or body.json_schema, left_out)
    return ChatPrompt(
        messages=messages,
        tools=wire_tools(tools),
        tool_choice=_choice(choice, tools, left_out),
        parallel_tool_calls=False if choice and choice.disable_parallel_tool_use else None,
        json_schema=schema,
        lenient_schema=True,
        reasoning_effort=known_effort(output.effort, "output_config.effort", left_out),
        enable_thinking=None if body.thinking is None else body.thinking.type != "disabled",
        continue_final_message=continues,
        warnings=left_out.warnings,
        tool_forms=offered.forms(),
    )


def _choice(choice: ToolChoice | None, tools: list[Tool], left_out: LeftOut) -> WireChoice:
    if choice is None:
        return None
    if choice.type != "tool":
        return with_mode(tools, _CHOICES[choice.type], left_out)[1]
    if choice.name is None:
        raise InvalidRequestError("field 'tool_choice.name' is required", param="tool_choice.name")
    if left_out.lacks_choice("tool_choice", choice.name, names_of(tools)):
        return None
    return must_call(choice.name)
