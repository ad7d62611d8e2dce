"""Requests of the Responses API: the messages for the model, and the refusals."""

from typing import Any

import msgspec
import pytest

from server.api.responses.jobs import responses_job
from server.api.responses.schema import ResponsesBody
from server.errors import InvalidRequestError
from server.protocol.job import ChatPrompt, Job

_CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"x": 1}'}
_RESULT = {"type": "function_call_output", "call_id": "c1", "output": "42"}
_TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
_OTHER = {"type": "function", "name": "g"}
_SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}


def _job(**fields: Any) -> Job:
    return responses_job(msgspec.convert({"input": "hi"} | fields, ResponsesBody), "me")


def _prompt(**fields: Any) -> ChatPrompt:
    prompt = _job(**fields).prompt
    assert isinstance(prompt, ChatPrompt)
    return prompt


def test_a_string_is_a_user_message_after_the_instructions() -> None:
    assert _prompt(instructions="be brief").messages == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"},
    ]


def test_what_the_model_did_in_one_turn_is_one_message() -> None:
    reasoning = {"type": "reasoning", "summary": []}
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "go"}]},
        reasoning | {"content": [{"type": "reasoning_text", "text": "hm"}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "so"}],
        },
        _CALL,
        _RESULT | {"output": [{"type": "input_text", "text": "42"}]},
        reasoning | {"encrypted_content": "only OpenAI can read it"},
        {"role": "user", "content": "thanks"},
    ]
    function = {"name": "f", "arguments": '{"x": 1}'}
    assert _prompt(input=items).messages == [
        {"role": "user", "content": "go"},
        {
            "role": "assistant",
            "content": "so",
            "reasoning_content": "hm",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
        {"role": "user", "content": "thanks"},
    ]


def test_instructions_and_a_developer_are_one_system_message() -> None:
    items = [{"role": "developer", "content": "and kind"}, {"role": "user", "content": "hi"}]
    messages = _prompt(instructions="be brief", input=items).messages
    assert messages[0] == {"role": "system", "content": "be brief\n\nand kind"}
    assert [message["role"] for message in messages] == ["system", "user"]


def test_tools_are_functions_in_the_form_of_chats() -> None:
    function = {"name": "f", "parameters": {"type": "object"}, "strict": True}
    prompt = _prompt(tools=[_TOOL], parallel_tool_calls=False)
    assert prompt.tools == [{"type": "function", "function": function}]
    assert prompt.tool_choice is None
    assert prompt.parallel_tool_calls is False


@pytest.mark.parametrize("choice", ["none", "auto", "required"])
def test_a_word_of_choice_is_passed_on(choice: str) -> None:
    assert _prompt(tools=[_TOOL], tool_choice=choice).tool_choice == choice


def test_a_tool_may_be_named_or_some_allowed() -> None:
    tools = [_TOOL, _OTHER]
    named = _prompt(tools=tools, tool_choice={"type": "function", "name": "g"})
    assert named.tool_choice == {"type": "function", "function": {"name": "g"}}
    some = {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "g"}],
    }
    allowed = _prompt(tools=tools, tool_choice=some)
    assert allowed.tool_choice == "required"
    assert [tool["function"]["name"] for tool in allowed.tools or ()] == ["g"]


@pytest.mark.parametrize(
    ("form", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "name": "n", "schema": _SCHEMA}, _SCHEMA),
    ],
)
def test_the_format_is_a_schema(form: dict[str, Any], schema: Any) -> None:
    assert _prompt(text={"format": form, "verbosity": "low"}).json_schema == schema


def test_limits_and_effort_are_passed_on() -> None:
    job = _job(max_output_tokens=7, top_p=0.5, reasoning={"effort": "max", "summary": "auto"})
    assert (job.max_tokens, job.sampling.top_p, job.caller) == (7, 0.5, "me")
    assert isinstance(job.prompt, ChatPrompt)
    assert job.prompt.reasoning_effort == "max"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"background": True}, "background"),
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [_TOOL], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice.name"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_object"}}, "json_schema": {}}, "json_schema"),
        ({"input": [{"content": "who?"}]}, "input[0].role"),
        ({"input": [{"type": "item_reference", "id": "m"}]}, "input[0]"),
        ({"input": [{"id": "m"}]}, "input[0]"),
    ],
)
def test_what_cannot_be_done_is_an_error_that_names_the_field(
    fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        _job(**fields)
    assert refused.value.param == param
    assert f"'{param}'" in refused.value.message
