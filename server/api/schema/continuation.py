"""Prefill: an answer that continues the assistant's last message."""

from typing import Any, Final

from server.api.schema.left_out import LeftOut

_JSON: Final = ("{", "[", '"')


def with_continuation(
    messages: list[dict[str, Any]], json_schema: dict[str, Any] | None, left_out: LeftOut
) -> tuple[list[dict[str, Any]], bool | None]:
    """The messages, and True if the answer continues the last one; None leaves it to the template.

    That message is the assistant's and has no calls. Empty messages of the assistant at the end are
    left out, and several with text are joined to one. With `json_schema` the answer continues only
    a message that begins like JSON; after another text it begins anew, with a warning.
    """
    messages = list(messages)
    while len(messages) > 1 and _is_open(messages[-1]) and not _has_text(messages[-1]):
        messages.pop()
    if not messages or not _is_open(messages[-1]) or not _has_text(messages[-1]):
        return messages, None
    begins_json = (messages[-1].get("content") or "").lstrip().startswith(_JSON)
    if json_schema is not None and not begins_json:
        left_out.warn(
            "the assistant's last message is not continued: it is not the beginning of a JSON "
            "answer; the answer begins anew"
        )
        return messages, None
    while len(messages) > 1 and _is_open(messages[-2]):
        last = messages.pop()
        messages[-1] = messages[-1] | _joined(messages[-1], last)
    return messages, True


def _joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    names = ("reasoning_content", "content")
    return {
        name: "\n".join(filter(None, (first.get(name), second.get(name))))
        for name in names
        if first.get(name) or second.get(name)
    }


def _is_open(message: dict[str, Any]) -> bool:
    return message["role"] == "assistant" and not message.get("tool_calls")


def _has_text(message: dict[str, Any]) -> bool:
    return bool(message.get("content") or message.get("reasoning_content"))
