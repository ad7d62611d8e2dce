"""Conversations for templates that insist on turns of user and assistant."""

from typing import Any

import pytest

from llamabind.chat.turns import with_turns

_CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}
_RESULT = {"role": "tool", "content": "42", "tool_call_id": "c"}


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ([_user("a"), _user("b")], [_user("a\n\nb")]),
        ([_assistant("a")], [_user(""), _assistant("a")]),
        ([_RESULT, _user("a")], [_user("42\n\na")]),
        ([_user("a"), _RESULT, _RESULT], [_user("a\n\n42\n\n42")]),
        ([_user("a"), _assistant("b"), _RESULT], [_user("a"), _assistant("b"), _user("42")]),
        ([_user("a"), _CALL, _RESULT, _RESULT], [_user("a"), _CALL, _RESULT, _RESULT]),
    ],
)
def test_results_without_a_call_are_the_users(messages: Any, turns: Any) -> None:
    assert with_turns(messages) == turns
