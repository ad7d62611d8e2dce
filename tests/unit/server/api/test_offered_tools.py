"""Custom tools, those of namespaces and deferred ones are offered to the model as functions."""

from typing import Any

import msgspec
import pytest

from server.api.anthropic.jobs import messages_job
from server.api.anthropic.schema import MessagesBody
from server.api.openai.chat import ChatCompletionBody
from server.api.responses.jobs import responses_job
from server.api.responses.schema import ResponsesBody
from server.protocol.job import ChatPrompt, Job, ToolForm

_SCHEMA = {"type": "object", "properties": {}}
_CLOSE = {"type": "function", "name": "close", "parameters": _SCHEMA}
_PATCH = {"type": "custom", "name": "patch"}
_AGENTS = {"type": "namespace", "name": "agents", "description": "d", "tools": [_CLOSE, _PATCH]}
_HI = {"role": "user", "content": "hi"}


def _responses(**fields: Any) -> Job:
    return responses_job(msgspec.convert({"input": "hi"} | fields, ResponsesBody), "")


def _anthropic(**fields: Any) -> Job:
    body = {"messages": [_HI], "max_tokens": 5} | fields
    return messages_job(msgspec.convert(body, MessagesBody), "")


def _prompt(job: Job) -> ChatPrompt:
    assert isinstance(job.prompt, ChatPrompt)
    return job.prompt


def _functions(job: Job) -> dict[str, Any]:
    tools = _prompt(job).tools or []
    return {tool["function"]["name"]: tool["function"] for tool in tools}


def test_the_tools_of_a_namespace_are_offered_by_their_own_names() -> None:
    job = _responses(tools=[_AGENTS])
    functions = _functions(job)
    assert list(functions) == ["close", "patch"]
    assert functions["close"]["description"] == "agents: d"
    assert functions["patch"]["parameters"]["required"] == ["input"]
    assert job.tool_forms == {
        "close": ToolForm(kind="function", name="close", namespace="agents"),
        "patch": ToolForm(kind="custom", name="patch", namespace="agents"),
    }
    assert job.warnings == ()


def test_equal_names_get_the_namespace_before_them() -> None:
    history = [
        _HI,
        {"type": "function_call", "call_id": "a", "name": "close", "arguments": "{}"},
        {
            "type": "function_call",
            "call_id": "b",
            "name": "close",
            "namespace": "agents",
            "arguments": "{}",
        },
    ]
    job = _responses(tools=[_AGENTS, _CLOSE], input=history)
    assert list(_functions(job)) == ["agents__close", "patch", "close"]
    calls = _prompt(job).messages[-1]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["close", "agents__close"]
    choice = {"type": "function", "name": "close", "namespace": "agents"}
    chosen = _prompt(_responses(tools=[_AGENTS, _CLOSE], tool_choice=choice)).tool_choice
    assert chosen == {"type": "function", "function": {"name": "agents__close"}}


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_regular_expression_is_a_pattern_and_another_grammar_a_description(
    is_nested: bool,
) -> None:
    def functions(syntax: str) -> tuple[dict[str, Any], tuple[str, ...]]:
        grammar = {"syntax": syntax, "definition": "[a-z]"}
        form = {"type": "grammar"} | ({"grammar": grammar} if is_nested else grammar)
        if is_nested:
            tool = {"type": "custom", "custom": {"name": "patch", "format": form}}
            fields = {"messages": [_HI], "tools": [tool]}
            job = msgspec.convert(fields, ChatCompletionBody).to_job()
        else:
            job = _responses(tools=[_PATCH | {"format": form}])
        text: dict[str, Any] = _functions(job)["patch"]["parameters"]["properties"]["input"]
        return text, job.warnings

    assert functions("regex") == ({"type": "string", "pattern": "^([a-z])$"}, ())
    text, warnings = functions("lark")
    assert text["description"] == "Text that matches this lark grammar:\n[a-z]"
    assert "format is not enforced" in warnings[0]


def test_a_deferred_tool_is_offered_when_the_conversation_names_it() -> None:
    later = _CLOSE | {"name": "later", "defer_loading": True}
    job = _responses(tools=[_CLOSE, later])
    assert list(_functions(job)) == ["close"]
    assert "'later' is left out: it is deferred" in job.warnings[0]
    found = [_HI, {"type": "tool_search_output", "tools": [_CLOSE | {"name": "later"}]}]
    assert list(_functions(_responses(tools=[_CLOSE, later], input=found))) == ["close", "later"]
    # Nothing can search for it here.
    searched = _responses(tools=[{"type": "tool_search"}, later])
    assert list(_functions(searched)) == ["later"]


def test_messages_add_and_remove_tools_of_anthropic() -> None:
    tool = {"name": "t", "input_schema": _SCHEMA}
    later = {"name": "later", "input_schema": _SCHEMA, "defer_loading": True}
    new = {"type": "tool_definition", "definition": tool | {"name": "new"}}
    messages = [
        _HI,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "t"}]},
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "a",
                    "content": [{"type": "tool_reference", "tool_name": "later"}],
                }
            ],
        },
        {
            "role": "system",
            "content": [
                {"type": "tool_addition", "tool": new},
                {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "t"}},
            ],
        },
    ]
    job = _anthropic(messages=messages, tools=[tool, later])
    assert list(_functions(job)) == ["later", "new"]
    roles = [message["role"] for message in _prompt(job).messages]
    assert roles == ["user", "assistant", "tool"]
    assert _prompt(job).messages[-1]["content"] == "The tool 'later' is available."
