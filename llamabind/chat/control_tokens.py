"""ControlTokenGuard: keeps what people write in a chat from being read as control tokens."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MARK_DIGITS = 24


class ControlTokenGuard:
    """Breaks up control tokens ("<|im_end|>") in messages by a mark that the template passes on.

    The prompt is cut at the marks and its parts are tokenised one by one, so that neither part has
    the token. A mark is random digits: nobody can guess it, and no template changes it. Assistant
    messages are left alone but for the arguments of their calls: they are the model's own text, in
    which templates look for tags.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        """`texts` are the control tokens as they are written."""
        self._find = _pattern([text for text in texts if len(text) > 1])

    def guard(self, messages: Sequence[Mapping[str, Any]]) -> tuple[list[Any], str]:
        """Return the messages with marks, and the mark; it is "" if nothing had to be marked."""
        mark = "".join(secrets.choice("0123456789") for _ in range(_MARK_DIGITS))
        guarded = [self._guard_message(message, mark) for message in messages]
        changed = any(new is not old for new, old in zip(guarded, messages, strict=True))
        return guarded, mark if changed else ""

    def _guard_message(self, message: Mapping[str, Any], mark: str) -> Mapping[str, Any]:
        key = "tool_calls" if message.get("role") == "assistant" else "content"
        old = message.get(key)
        new = self._guard_value(old, mark)
        return message if new == old else {**message, key: new}

    def _guard_value(self, value: Any, mark: str) -> Any:
        match value:
            case str() if self._find is not None:
                # One character of the token on this side of the mark, the others beyond it.
                return self._find.sub(lambda match: match[0] + mark, value)
            case list():
                return [self._guard_value(item, mark) for item in value]
            case dict():
                return {key: self._guard_value(item, mark) for key, item in value.items()}
            case _:
                return value


def _pattern(texts: Sequence[str]) -> re.Pattern[str] | None:
    """Match the first character of any of `texts`, so that overlapping ones are all found.

    Alternatives that begin with a literal let `re` skip other characters quickly.
    """
    rests: dict[str, list[str]] = {}
    for text in sorted(set(texts)):
        rests.setdefault(text[0], []).append(re.escape(text[1:]))
    if not rests:
        return None
    return re.compile(
        "|".join(f"{re.escape(first)}(?={'|'.join(rest)})" for first, rest in rests.items())
    )
