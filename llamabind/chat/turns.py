"""Conversations for templates that insist on turns: one system message, then user and assistant."""

from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]


def with_turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the conversation with at most one system message, then turns of user and assistant.

    System messages are merged at the start; neighbouring messages of the user, or of the assistant
    without calls, are merged into one. If the first turn is not the user's, an empty message of the
    user comes before it. A tool's result without a call before it becomes a message of the user.
    """
    messages = _with_orphans_of_user(messages)
    system = [message for message in messages if message["role"] in _SYSTEM]
    merged: list[dict[str, Any]] = []
    for message in messages:
        if message["role"] in _SYSTEM:
            continue
        if merged and _can_join(merged[-1], message):
            merged[-1] = _joined(merged[-1], message)
        else:
            merged.append(dict(message))
    if not merged or merged[0]["role"] != "user":
        merged.insert(0, {"role": "user", "content": ""})
    first: dict[str, Any] | None = None
    for message in system:
        first = dict(message) if first is None else _joined(first, message)
    return merged if first is None else [first, *merged]


_SYSTEM = ("system", "developer")


def _with_orphans_of_user(messages: Sequence[Message]) -> list[Message]:
    """Agents that cut the beginning of a long conversation leave results without their calls."""
    found: list[Message] = []
    follows_call = False
    for message in messages:
        if message["role"] == "tool" and not follows_call:
            message = {"role": "user", "content": message.get("content")}
        elif message["role"] != "tool":
            follows_call = bool(message.get("tool_calls"))
        found.append(message)
    return found


def _can_join(first: Message, second: Message) -> bool:
    if first["role"] != second["role"] or first["role"] not in ("user", "assistant"):
        return False
    # A call must be followed by its result.
    return not first.get("tool_calls")


def _joined(first: Message, second: Message) -> dict[str, Any]:
    joined = {**first, **second, "content": _contents(first.get("content"), second.get("content"))}
    reasoning = [
        one["reasoning_content"] for one in (first, second) if one.get("reasoning_content")
    ]
    return joined | ({"reasoning_content": "\n\n".join(reasoning)} if reasoning else {})


def _contents(first: Any, second: Any) -> Any:
    if not first or not second:
        return first or second
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_parts(first), *_parts(second)]


def _parts(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
