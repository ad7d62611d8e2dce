"""Prompt: reads messages, also of several lines."""

from collections.abc import Callable
from typing import Final

FIRST: Final = ">>> "
MORE: Final = "... "
_QUOTES: Final = '"""'
ReadLine = Callable[[str], str]


class Prompt:
    '''Reads one message after another. A message that begins with """ goes on until the next """;
    a line that ends with a backslash goes on in the next one.
    '''

    def __init__(self, read_line: ReadLine) -> None:
        """`read_line` takes the text to show, as `input`: raises EOFError and KeyboardInterrupt."""
        self._read_line = read_line

    def read(self) -> str:
        """The next message. Raises EOFError at the end of the input, KeyboardInterrupt."""
        line = self._read_line(FIRST)
        if line.lstrip().startswith(_QUOTES):
            return self._quoted(line.lstrip().removeprefix(_QUOTES))
        lines = [line]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(self._read_line(MORE))
        return "\n".join(lines).strip()

    def _quoted(self, line: str) -> str:
        lines = []
        while _QUOTES not in line:
            lines.append(line)
            line = self._read_line(MORE)
        lines.append(line.partition(_QUOTES)[0])
        return "\n".join(lines).strip("\n")
