"""Limits of a conversation's length, checked before the server converts it message by message.

The worker refuses a conversation with more messages, parts or tool calls than its context has
tokens; this limit keeps the event loop free for other clients whatever the model's context is.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from server.errors import InvalidRequestError

MAX_ITEMS = 16_384
"""Messages, parts of their contents, and tool calls of one request."""

_FIELDS = ("messages", "input")
_PARTS = ("content", "tool_calls", "output", "summary")
_KEY = b'"role"'


def check_raw(raw: bytes | bytearray, kind: Any) -> None:
    """Refuse a body that has too many messages before it is decoded. Raises InvalidRequestError.

    Inside a string the quotes are escaped, so this counts members of objects only.
    """
    if (name := _field_of(kind)) and len(raw) > MAX_ITEMS and (n := raw.count(_KEY)) > MAX_ITEMS:
        raise _too_many(name, n)


def check_items(body: Any) -> None:
    """Refuse too many messages, parts and tool calls. Raises InvalidRequestError."""
    name = _field_of(type(body))
    messages = getattr(body, name) if name else None
    if not isinstance(messages, list | tuple):
        return
    # Inputs to embed are texts or token ids, which cost nothing to convert.
    messages = [one for one in messages if not isinstance(one, str | int | list | tuple)]
    n = len(messages) + sum(len(part) for message in messages for part in _parts(message))
    if n > MAX_ITEMS:
        raise _too_many(str(name), n)


def _parts(message: Any) -> Iterable[list[Any] | tuple[Any, ...]]:
    for name in _PARTS:
        value = message.get(name) if isinstance(message, dict) else getattr(message, name, None)
        if isinstance(value, list | tuple):
            yield value


def _field_of(kind: Any) -> str | None:
    if not isinstance(kind, type) or not issubclass(kind, msgspec.Struct):
        return None
    return next((name for name in _FIELDS if name in kind.__struct_fields__), None)


def _too_many(name: str, n: int) -> InvalidRequestError:
    return InvalidRequestError(
        f"field '{name}': {n} messages, parts and tool calls, the limit of a request is "
        f"{MAX_ITEMS}; shorten the conversation",
        param=name,
        code="too_many_messages",
    )
