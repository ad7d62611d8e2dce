"""CustomInput: the text of a custom tool's call, read from the arguments as they are generated."""

import json
import re
from typing import Final

_START: Final = re.compile(r'\s*\{\s*"input"\s*:\s*"')
# A string up to its closing quote, with whole escapes only: the second half of a surrogate pair may
# be in the next piece.
_WHOLE: Final = re.compile(
    r'(?:[^"\\]|\\[^u]|\\u(?!d[89ab])[0-9a-f]{4}'
    r"|\\ud[89ab][0-9a-f]{2}(?:\\u[0-9a-f]{4}|(?=[^\\]|\\[^u])))*",
    re.IGNORECASE,
)


class CustomInput:
    """Decodes the JSON {"input": "..."} piece by piece."""

    def __init__(self) -> None:
        self._unread = ""
        self._has_begun = False
        self._has_ended = False

    def feed(self, arguments: str) -> str:
        """Add a piece of the arguments; returns the new part of the text, possibly ""."""
        if self._has_ended:
            return ""
        self._unread += arguments
        if not self._has_begun:
            start = _START.match(self._unread)
            if start is None:
                return ""
            self._has_begun = True
            self._unread = self._unread[start.end() :]
        whole = _WHOLE.match(self._unread)
        end = whole.end() if whole else 0
        text, self._unread = self._unread[:end], self._unread[end:]
        self._has_ended = self._unread.startswith('"')
        return _decoded(text)

    def finish(self) -> str:
        """The rest, when the call has ended: arguments of another form are returned as they are."""
        return "" if self._has_begun else self._unread.strip()


def input_of(arguments: str) -> str:
    """The text in the arguments of a whole call."""
    custom = CustomInput()
    return custom.feed(arguments) + custom.finish()


def _decoded(text: str) -> str:
    decoded: str = json.loads(f'"{text}"', strict=False)
    # Half of a surrogate pair alone is not a character.
    return decoded.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
