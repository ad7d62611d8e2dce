"""Jobs made from requests of each dialect; they do not depend on the model."""

from typing import Any

import msgspec
import pytest

from server.api.anthropic.jobs import messages_job
from server.api.anthropic.schema import MessagesBody
from server.api.ollama.jobs import chat_job
from server.api.ollama.schema import OllamaChatBody
from server.api.openai.chat import ChatCompletionBody
from server.errors import InvalidRequestError
from server.protocol.job import ChatPrompt, Job

_MESSAGES = [{"role": "user", "content": "hi"}]
_TOOLS = [{"type": "function", "function": {"name": name}} for name in ("f", "g", "h")]


def _openai(**fields: Any) -> Job:
    return msgspec.convert({"messages": _MESSAGES} | fields, ChatCompletionBody).to_job("me")


def _anthropic(**fields: Any) -> Job:
    body = {"messages": _MESSAGES, "max_tokens": 5} | fields
    return messages_job(msgspec.convert(body, MessagesBody), "me")


def _ollama(**fields: Any) -> Job:
    body = {"model": "m", "messages": _MESSAGES} | fields
    return chat_job(msgspec.convert(body, OllamaChatBody), "me")


def _prompt(job: Job) -> ChatPrompt:
    assert isinstance(job.prompt, ChatPrompt)
    return job.prompt


def _names(prompt: ChatPrompt) -> list[str]:
    return [tool["function"]["name"] for tool in prompt.tools or ()]


def _allowed(mode: str, *names: str) -> dict[str, Any]:
    named = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": named}}


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_a_chat_may_allow_some_of_its_tools(mode: str) -> None:
    prompt = _prompt(_openai(tools=_TOOLS, tool_choice=_allowed(mode, "h", "f")))
    assert _names(prompt) == ["f", "h"]
    assert prompt.tool_choice == mode


@pytest.mark.parametrize("more", [{"type": "function"}, {"type": None}, {}])
def test_a_chat_may_name_the_tool_that_must_be_called(more: dict[str, Any]) -> None:
    choice = {"function": {"name": "g"}} | more
    prompt = _prompt(_openai(tools=_TOOLS, tool_choice=choice))
    assert _names(prompt) == ["f", "g", "h"]
    assert prompt.tool_choice == {"type": "function", "function": {"name": "g"}}


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        (_allowed("auto", "f", "x"), "tool_choice.allowed_tools.tools"),
        ({"type": "allowed_tools"}, "tool_choice.allowed_tools"),
        ({"type": "function"}, "tool_choice.function"),
        ({"type": "function"} | {"allowed_tools": None}, "tool_choice.function"),
        ({}, "tool_choice.function"),
    ],
)
def test_a_choice_of_no_tool_is_named(choice: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        _openai(tools=_TOOLS, tool_choice=choice)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("stop", "expected"),
    [("", ()), ([], ()), ([""], ()), (["", "a", ""], ("a",)), ("a", ("a",))],
)
def test_empty_stop_strings_are_left_out(stop: Any, expected: tuple[str, ...]) -> None:
    assert _openai(stop=stop).stop == expected


@pytest.mark.parametrize(
    ("fields", "expected"), [({"n_cmpl": 3}, 3), ({"n": 2}, 2), ({"n_cmpl": 3, "n": 2}, 3), ({}, 1)]
)
def test_llama_servers_name_of_n_goes_first(fields: dict[str, int], expected: int) -> None:
    assert _openai(**fields).n == expected


@pytest.mark.parametrize("name", ["n", "n_cmpl"])
def test_dialects_of_one_answer_refuse_several_with_the_requests_field_name(name: str) -> None:
    for make, fields, param in (
        (_anthropic, {name: 2}, name),
        (_ollama, {"options": {name: 2}}, f"options.{name}"),
    ):
        with pytest.raises(InvalidRequestError) as refused:
            make(**fields)
        assert refused.value.param == param


def test_anthropics_system_may_speak_in_between() -> None:
    text = [{"type": "text", "text": "be brief"}]
    messages = [*_MESSAGES, {"role": "system", "content": text}]
    assert _prompt(_anthropic(messages=messages)).messages == [
        *_MESSAGES,
        {"role": "system", "content": "be brief"},
    ]
    reasoning = {"role": "system", "content": [{"type": "thinking", "thinking": "hm"}]}
    job = _anthropic(messages=[*_MESSAGES, reasoning])
    assert _prompt(job).messages == _MESSAGES
    assert job.warnings == (
        "messages[1].content[0]: 'thinking' is left out: system messages cannot contain this type "
        "of block",
    )


def test_anthropics_reasoning_has_a_budget() -> None:
    def budget(**fields: Any) -> int:
        return _anthropic(**fields).sampling.reasoning_budget_tokens

    thinking = {"type": "enabled", "budget_tokens": 2048}
    assert budget(thinking=thinking) == 2048
    assert budget(thinking=thinking, reasoning_budget_tokens=5) == 5
    assert budget(thinking={**thinking, "type": "adaptive"}) == -1
    assert budget() == -1
    assert budget(thinking_budget_tokens=7) == 7


def test_anthropics_effort_and_strict_tools_mean_what_openais_do() -> None:
    schema = {"type": "object"}
    tool = {"name": "f", "input_schema": schema, "strict": True}
    prompt = _prompt(_anthropic(output_config={"effort": "low"}, tools=[tool]))
    assert prompt.reasoning_effort == "low"
    assert prompt.json_schema is None
    function = {"name": "f", "parameters": schema, "strict": True}
    assert prompt.tools == [{"type": "function", "function": function}]
