"""Conversations, tools and variables beyond the limits are refused before they are rendered."""

from typing import Any

import pytest

from llamabind.chat.size_limits import (
    MAX_DEPTH,
    MAX_TOOL_VALUES,
    MAX_TOOLS,
    MAX_VARIABLE_CHARACTERS,
    MAX_VARIABLE_VALUES,
    MAX_VARIABLES,
    argument_lengths,
    check_sizes,
)
from llamabind.errors import InvalidParameterError, PromptTooLongError

N_CTX = 64
HELLO = {"role": "user", "content": "hello"}
PART = {"type": "text", "text": ""}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


def calling(calls: list[Any]) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": calls}


@pytest.mark.parametrize(
    "messages",
    [
        [HELLO] * (N_CTX + 1),
        [{"role": "user", "content": [PART] * (N_CTX + 1)}],
        [calling([CALL] * (N_CTX + 1))],
        [{"role": "user", "content": [PART] * N_CTX}, calling([CALL])],
    ],
    ids=["messages", "parts", "calls", "parts and calls"],
)
def test_more_messages_than_the_context_has_tokens_are_too_long(messages: list[Any]) -> None:
    with pytest.raises(PromptTooLongError) as refused:
        check_sizes(messages, {}, N_CTX)
    assert (refused.value.n_prompt_tokens, refused.value.n_ctx) == (N_CTX + 1, N_CTX)


@pytest.mark.parametrize(
    ("options", "field", "reason"),
    [
        (
            {"chat_template_kwargs": {str(i): i for i in range(MAX_VARIABLES + 1)}},
            "chat_template_kwargs",
            f"{MAX_VARIABLES + 1} variables, the limit is {MAX_VARIABLES}",
        ),
        (
            {"chat_template_kwargs": {"a": [0] * (MAX_VARIABLE_VALUES + 1)}},
            "chat_template_kwargs",
            f"more than {MAX_VARIABLE_VALUES} values",
        ),
        (
            {"chat_template_kwargs": {"a": "x" * (MAX_VARIABLE_CHARACTERS + 1)}},
            "chat_template_kwargs",
            f"more than {MAX_VARIABLE_CHARACTERS} characters",
        ),
        (
            {"chat_template_kwargs": {"a": {"x" * (MAX_VARIABLE_CHARACTERS + 1): 1}}},
            "chat_template_kwargs",
            f"more than {MAX_VARIABLE_CHARACTERS} characters",
        ),
        (
            {"chat_template_kwargs": {"a": nested(MAX_DEPTH)}},
            "chat_template_kwargs",
            f"nested deeper than {MAX_DEPTH} levels",
        ),
        ({"tools": [{}] * (MAX_TOOLS + 1)}, "tools", f"{MAX_TOOLS + 1} tools"),
        ({"tools": [{"a": [0] * MAX_TOOL_VALUES}]}, "tools", f"more than {MAX_TOOL_VALUES} values"),
        ({"tools": [nested(MAX_DEPTH + 1)]}, "tools", "nested deeper"),
    ],
)
def test_a_value_beyond_a_limit_names_its_field(
    options: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(InvalidParameterError, match=reason) as refused:
        check_sizes([HELLO], options, N_CTX)
    assert refused.value.field == field


def test_arguments_with_too_many_values_are_refused() -> None:
    function = {"name": "f", "arguments": {"a": [0] * (MAX_TOOL_VALUES + 10)}}
    with pytest.raises(InvalidParameterError, match="values") as refused:
        check_sizes([HELLO, calling([{"function": function}])], {}, N_CTX)
    assert refused.value.field == "messages"


def test_what_real_clients_send_is_accepted() -> None:
    tools = [
        {"type": "function", "function": {"name": f"f{i}", "parameters": {"type": "object"}}}
        for i in range(MAX_TOOLS)
    ]
    variables = {"enable_thinking": False, "documents": ["x" * 1000] * 500}
    messages = [HELLO] * (N_CTX - 1) + [calling([CALL])]
    check_sizes(messages, {"tools": tools, "chat_template_kwargs": variables}, N_CTX)


def test_arguments_that_are_texts_have_a_length() -> None:
    malformed: list[Any] = [{"tool_calls": "no"}, {"tool_calls": [1, {"function": 2}]}]
    assert list(argument_lengths([HELLO, calling([CALL, CALL]), *malformed])) == [2, 2]
