"""ControlTokenGuard: keeps text written in a chat from being tokenised as control tokens."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MARKER_DIGITS = 24


class ControlTokenGuard:
    """Breaks up control tokens ("<|im_end|>") in messages with a marker that the template copies.

    The rendered prompt is split at the markers and its parts are tokenised one by one, so that no
    part contains the token. A marker is random digits: a client cannot guess it, and no template
    changes it. In assistant messages only the arguments of tool calls are guarded: the rest is the
    model's own text, in which templates look for tags.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        """`texts` are the control tokens as text, such as "<|im_end|>"."""
        self._find = _pattern([text for text in texts if len(text) > 1])

    def guard(self, messages: Sequence[Mapping[str, Any]]) -> tuple[list[Any], str]:
        """Return the messages with markers, and the marker; "" if no message needed one."""
        marker = "".join(secrets.choice("0123456789") for _ in range(_MARKER_DIGITS))
        guarded = [self._guard_message(message, marker) for message in messages]
        changed = any(new is not old for new, old in zip(guarded, messages, strict=True))
        return guarded, marker if changed else ""

    def _guard_message(self, message: Mapping[str, Any], marker: str) -> Mapping[str, Any]:
        key = "tool_calls" if message.get("role") == "assistant" else "content"
        old = message.get(key)
        new = self._guard_value(old, marker)
        return message if new == old else {**message, key: new}

    def _guard_value(self, value: Any, marker: str) -> Any:
        match value:
            case str() if self._find is not None:
                # The marker goes between the token's first character and the rest.
                return self._find.sub(lambda match: match[0] + marker, value)
            case list():
                return [self._guard_value(item, marker) for item in value]
            case dict():
                return {key: self._guard_value(item, marker) for key, item in value.items()}
            case _:
                return value


def _pattern(texts: Sequence[str]) -> re.Pattern[str] | None:
    """Match only the first character of each of `texts`, so that overlapping ones are all found.

    Each alternative begins with a literal, which lets `re` skip other characters quickly.
    """
    rests: dict[str, list[str]] = {}
    for text in sorted(set(texts)):
        rests.setdefault(text[0], []).append(re.escape(text[1:]))
    if not rests:
        return None
    return re.compile(
        "|".join(f"{re.escape(first)}(?={'|'.join(rest)})" for first, rest in rests.items())
    )
