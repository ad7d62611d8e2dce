"""ReasoningWatch: finds where the reasoning of an answer that follows a JSON schema ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llamabind.schema.masks.lark import Reasoning


class ReasoningWatch:
    """Reads an answer's text until its reasoning is over, or until it has begun without any.

    From there on a budget of reasoning must not act any more: a string of the JSON may contain the
    text of the start tag.
    """

    def __init__(self, reasoning: Reasoning) -> None:
        self._start = reasoning.start.strip().encode()
        self._end = reasoning.end.strip().encode()
        self._is_inside = reasoning.is_open
        self._text = b""

    def is_over(self, piece: bytes) -> bool:
        """Read the bytes of the next token; True if the answer's JSON comes next or has begun."""
        self._text += piece
        if not self._is_inside:
            begun = self._text.lstrip()
            if not begun.startswith(self._start):
                return not self._start.startswith(begun)
            self._is_inside = True
            self._text = begun[len(self._start) :]
        if self._end in self._text:
            return True
        self._text = self._text[max(0, len(self._text) - len(self._end) + 1) :]
        return False
