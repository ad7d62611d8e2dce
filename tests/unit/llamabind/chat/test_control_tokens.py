"""Control tokens written in messages are broken up, so that they are tokenised as plain text."""

from typing import Any

import pytest

from llamabind.chat.control_tokens import ControlTokenGuard

TOKENS = ("<|im_end|>", "<s>", "<|a|>", "|>b<|", "x")


def _guard(*messages: dict[str, Any]) -> tuple[list[Any], str]:
    return ControlTokenGuard(TOKENS).guard(messages)


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def test_a_conversation_without_control_tokens_is_unchanged() -> None:
    messages = [_user("1 < 2 and im_end"), {"role": "tool", "content": None}]
    guarded, mark = _guard(*messages)
    assert (guarded, mark) == (messages, "")


@pytest.mark.parametrize("text", ["<s>", "a <|im_end|>\n<s><s>", "<|a|>b<|a|>", "<|<|a|>a|>"])
def test_no_part_of_a_text_holds_a_token(text: str) -> None:
    [message], mark = _guard(_user(text))
    parts = message["content"].split(mark)
    assert len(parts) > 1
    assert "".join(parts) == text
    tokens = [token for token in TOKENS if len(token) > 1]
    assert not any(token in part for token in tokens for part in parts)


def test_parts_tool_results_and_arguments_of_calls_are_guarded_too() -> None:
    call = {"function": {"name": "f", "arguments": {"text": "<s>"}}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "<s>"}]},
        {"role": "tool", "content": "<s>"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]
    guarded, mark = _guard(*messages)
    broken = f"<{mark}s>"
    assert guarded[0]["content"][0]["text"] == guarded[1]["content"] == broken
    assert guarded[2]["tool_calls"][0]["function"]["arguments"]["text"] == broken
    assert call["function"]["arguments"] == {"text": "<s>"}


def test_assistant_messages_are_unchanged() -> None:
    said = {"role": "assistant", "content": "<s>"}
    assert _guard(said) == ([said], "")


def test_every_marker_is_different() -> None:
    assert _guard(_user("<s>"))[1] != _guard(_user("<s>"))[1]


def test_a_vocabulary_without_control_tokens_guards_nothing() -> None:
    assert ControlTokenGuard(()).guard([_user("<s>")]) == ([_user("<s>")], "")
