"""Parts of a request that the server or the worker leaves out, such as hosted tools."""

from typing import Any

import msgspec
import pytest

from server.api.anthropic.jobs import messages_job
from server.api.anthropic.schema import MessagesBody
from server.api.ollama.jobs import chat_job
from server.api.ollama.schema import OllamaChatBody
from server.api.openai.chat import ChatCompletionBody
from server.api.responses.jobs import responses_job
from server.api.responses.schema import ResponsesBody
from server.errors import InvalidRequestError
from server.http.warnings_header import header_text
from server.protocol.job import ChatPrompt, Job

_SCHEMA = {"type": "object", "properties": {}}
_MESSAGES = [{"role": "user", "content": "hi"}]
_CHAT_TOOL = {"type": "function", "function": {"name": "f", "parameters": _SCHEMA}}
_RESPONSES_TOOL = {"type": "function", "name": "f", "parameters": _SCHEMA}
_ANTHROPIC_TOOL = {"name": "f", "input_schema": _SCHEMA}


def _chat(**more: Any) -> Job:
    return msgspec.convert({"messages": _MESSAGES, **more}, ChatCompletionBody).to_job()


def _responses(**more: Any) -> Job:
    return responses_job(msgspec.convert({"input": "hi", **more}, ResponsesBody), "")


def _anthropic(**more: Any) -> Job:
    body = {"messages": _MESSAGES, "max_tokens": 5, **more}
    return messages_job(msgspec.convert(body, MessagesBody), "")


def _ollama(**more: Any) -> Job:
    return chat_job(
        msgspec.convert({"model": "m", "messages": _MESSAGES, **more}, OllamaChatBody), ""
    )


def _prompt(job: Job) -> ChatPrompt:
    assert isinstance(job.prompt, ChatPrompt)
    return job.prompt


_KINDS = [
    (_chat, _CHAT_TOOL, {"type": "web_search_preview"}),
    (_chat, _CHAT_TOOL, {"type": "image_generation", "function": None}),
    (_responses, _RESPONSES_TOOL, {"type": "web_search", "external_web_access": False}),
    (_responses, _RESPONSES_TOOL, {"type": "local_shell"}),
    (_responses, _RESPONSES_TOOL, {"type": "tool_search"}),
    (_responses, _RESPONSES_TOOL, {"type": "mcp", "server_label": "s"}),
    (_responses, _RESPONSES_TOOL, {"type": "computer_use_preview", "display_width": 9}),
    (_anthropic, _ANTHROPIC_TOOL, {"type": "web_search_20250305", "name": "web_search"}),
    (_anthropic, _ANTHROPIC_TOOL, {"type": "bash_20250124", "name": "bash"}),
    (
        _anthropic,
        _ANTHROPIC_TOOL,
        {"type": "text_editor_20250728", "name": "edit", "max_characters": 9},
    ),
    (_anthropic, _ANTHROPIC_TOOL, {"type": "mcp_toolset", "mcp_server_name": "s"}),
    (_anthropic, _ANTHROPIC_TOOL, {"name": "later", "defer_loading": True}),
    (_ollama, _CHAT_TOOL, {"type": "web_search"}),
]


@pytest.mark.parametrize(("make", "function", "other"), _KINDS)
def test_a_tool_other_than_a_function_is_left_out_with_a_warning(
    make: Any, function: Any, other: dict[str, Any]
) -> None:
    job = make(tools=[other, function, other])
    tools = _prompt(job).tools or []
    assert [tool["function"]["name"] for tool in tools] == ["f"]
    assert len(job.warnings) == 2
    assert job.warnings[0].startswith("tools[0] ")
    assert job.warnings[1].startswith("tools[2] ")
    assert (other.get("type") or other["name"]) in job.warnings[0]
    alone = make(tools=[other])
    assert _prompt(alone).tools is None
    assert len(alone.warnings) == 1


@pytest.mark.parametrize(
    ("make", "tools", "choice"),
    [
        (
            _chat,
            [_CHAT_TOOL, {"type": "web_search", "name": "patch"}],
            {"type": "function", "function": {"name": "patch"}},
        ),
        (_chat, [{"type": "web_search"}], "required"),
        (_chat, [_CHAT_TOOL], {"type": "web_search"}),
        (_responses, [_RESPONSES_TOOL], {"type": "web_search"}),
        (
            _responses,
            [_RESPONSES_TOOL, {"type": "mcp", "name": "patch"}],
            {"type": "function", "name": "patch"},
        ),
        (_responses, [{"type": "web_search"}], "required"),
        (
            _responses,
            [{"type": "web_search"}],
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]},
        ),
        (
            _anthropic,
            [_ANTHROPIC_TOOL, {"type": "bash_20250124", "name": "bash"}],
            {"type": "tool", "name": "bash"},
        ),
        (_anthropic, [{"type": "bash_20250124", "name": "bash"}], {"type": "any"}),
    ],
)
def test_a_choice_of_what_was_left_out_is_ignored_with_a_warning(
    make: Any, tools: list[Any], choice: Any
) -> None:
    job = make(tools=tools, tool_choice=choice)
    assert _prompt(job).tool_choice is None
    assert any("tool_choice is ignored" in warning for warning in job.warnings)


@pytest.mark.parametrize(
    ("make", "tool", "choice"),
    [
        (_responses, _RESPONSES_TOOL, {"type": "function", "name": "g"}),
        (
            _responses,
            _RESPONSES_TOOL,
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]},
        ),
    ],
)
def test_a_choice_of_a_tool_that_the_request_does_not_have_is_a_400(
    make: Any, tool: Any, choice: Any
) -> None:
    with pytest.raises(InvalidRequestError, match="'g' is not one of the request's tools"):
        make(tools=[tool], tool_choice=choice)


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        ("any", "required"),
        ({"type": "any"}, "required"),
        ({"type": "auto"}, "auto"),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_choices_of_other_dialects_are_taken(choice: Any, wire: Any) -> None:
    assert _prompt(_chat(tools=[_CHAT_TOOL], tool_choice=choice)).tool_choice == wire


@pytest.mark.parametrize(
    ("make", "tool", "other"),
    [
        (_chat, _CHAT_TOOL, {"type": "function", "function": {"name": "f", "description": "d"}}),
        (_responses, _RESPONSES_TOOL, {"type": "function", "name": "f", "description": "d"}),
        (_anthropic, _ANTHROPIC_TOOL, _ANTHROPIC_TOOL | {"description": "d"}),
        (_ollama, _CHAT_TOOL, {"type": "function", "function": {"name": "f", "description": "d"}}),
    ],
)
def test_the_second_tool_of_a_name_is_left_out(make: Any, tool: Any, other: Any) -> None:
    assert make(tools=[tool, tool]).warnings == ()
    job = make(tools=[tool, other])
    assert len(_prompt(job).tools or ()) == 1
    assert "another tool is named 'f' too" in job.warnings[0]


def test_calls_have_the_form_of_the_tool_that_is_offered() -> None:
    custom = {"type": "custom", "name": "f"}
    assert _responses(tools=[_RESPONSES_TOOL, custom]).tool_forms == {}
    assert _responses(tools=[custom, _RESPONSES_TOOL]).tool_forms["f"].kind == "custom"


def test_the_second_tool_of_a_name_must_not_be_strict() -> None:
    strict = {"type": "function", "function": {"name": "f", "strict": True}}
    with pytest.raises(InvalidRequestError, match="give it another name") as caught:
        _chat(tools=[_CHAT_TOOL, strict])
    assert caught.value.param == "tools[1]"


@pytest.mark.parametrize(
    ("make", "tool"),
    [
        (_chat, {"type": "function", "name": "f", "parameters": _SCHEMA}),
        (_chat, {"name": "f", "input_schema": _SCHEMA}),
        (_chat, {"type": "custom", "name": "f", "input_schema": _SCHEMA}),
        (_responses, _CHAT_TOOL),
    ],
)
def test_a_function_may_have_the_form_of_another_api(make: Any, tool: Any) -> None:
    function = {"name": "f", "parameters": _SCHEMA}
    assert _prompt(make(tools=[tool])).tools == [{"type": "function", "function": function}]


def test_a_function_may_have_the_name_of_what_was_left_out() -> None:
    tool = {"type": "function", "name": "web_search", "parameters": _SCHEMA}
    choice = {"type": "function", "name": "web_search"}
    job = _responses(tools=[{"type": "web_search"}, tool], tool_choice=choice)
    assert _prompt(job).tool_choice == {"type": "function", "function": {"name": "web_search"}}


def test_allowed_tools_that_were_left_out_are_not_missed() -> None:
    choice = {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "web_search"}, {"type": "function", "name": "f"}],
    }
    job = _responses(tools=[{"type": "web_search"}, _RESPONSES_TOOL], tool_choice=choice)
    assert len(_prompt(job).tools or ()) == 1
    assert job.warnings[-1] == "tool_choice.tools: 'web_search' was left out of the tools"


@pytest.mark.parametrize(
    ("make", "more", "is_lenient"),
    [
        (_chat, {"json_schema": _SCHEMA}, True),
        (_chat, {"response_format": {"type": "json_schema", "schema": _SCHEMA}}, True),
        (_responses, {"text": {"format": {"type": "json_schema", "schema": _SCHEMA}}}, True),
        (
            _responses,
            {"text": {"format": {"type": "json_schema", "schema": _SCHEMA, "strict": True}}},
            False,
        ),
        (
            _anthropic,
            {"output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}}},
            True,
        ),
        (_ollama, {"format": _SCHEMA}, True),
        *[
            (
                _chat,
                {
                    "response_format": {
                        "type": "json_schema",
                        "json_schema": {"name": "n", "schema": _SCHEMA, "strict": strict},
                    }
                },
                not strict,
            )
            for strict in (True, False, None)
        ],
    ],
)
def test_only_strict_makes_the_schema_of_an_answer_strict(
    make: Any, more: dict[str, Any], is_lenient: bool
) -> None:
    prompt = _prompt(make(**more))
    assert prompt.json_schema == _SCHEMA
    assert prompt.lenient_schema is is_lenient


def test_a_header_is_one_line_of_bounded_length() -> None:
    assert header_text(["a", "b"]) == "a; b"
    assert header_text(["é\n\t"]) == "???"
    many = header_text([f"warning {i}" for i in range(10_000)])
    assert len(many) <= 1000
    assert many.endswith(f"and {10_000 - many.count('warning')} more")
    assert len(header_text(["x" * 10**6, "y"])) <= 1000


_SURE = {"role": "assistant", "content": "Sure:"}


@pytest.mark.parametrize(
    ("make", "more"),
    [
        (_chat, {"response_format": {"type": "json_object"}}),
        (_anthropic, {"json_schema": _SCHEMA}),
        (_ollama, {"format": "json"}),
    ],
)
def test_a_beginning_that_is_not_json_is_not_continued_by_json(make: Any, more: Any) -> None:
    job = make(messages=[*_MESSAGES, _SURE], **more)
    assert not _prompt(job).continue_final_message
    assert "the answer begins anew" in job.warnings[0]
    job = make(messages=[*_MESSAGES, _SURE | {"content": "{"}], **more)
    assert (_prompt(job).continue_final_message, job.warnings) == (True, ())


@pytest.mark.parametrize(
    ("make", "effort"),
    [
        (_chat, lambda level: {"reasoning_effort": level}),
        (_responses, lambda level: {"reasoning": {"effort": level}}),
        (_anthropic, lambda level: {"output_config": {"effort": level}}),
    ],
)
def test_an_unknown_level_of_reasoning_is_ignored_with_a_warning(make: Any, effort: Any) -> None:
    job = make(**effort("ultra"))
    assert _prompt(job).reasoning_effort is None
    assert "'ultra' is not one of none, minimal, low" in job.warnings[0]
    job = make(**effort("max"))
    assert (_prompt(job).reasoning_effort, job.warnings) == ("max", ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("functions", [{"name": "f"}]),
        ("function_call", "auto"),
        ("audio", {"voice": "alloy"}),
        ("web_search_options", {}),
    ],
)
def test_fields_that_would_change_the_answer_are_not_dropped_silently(
    name: str, value: Any
) -> None:
    (warning,) = _chat(**{name: value}).warnings
    assert warning.startswith(f"{name} is ignored: ")
