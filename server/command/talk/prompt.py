"""Prompt: reads messages from the terminal, with history and multi-line input."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Final

from server.command.client.state_folder import state_file

FIRST: Final = ">>> "
MORE: Final = "... "
_QUOTES: Final = '"""'
_MAX_HISTORY: Final = 1000
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


@contextlib.contextmanager
def terminal_lines() -> Iterator[ReadLine]:
    """Yields a ReadLine: with readline and its history in a terminal, plain lines from a pipe."""
    if not sys.stdin.isatty():
        yield _plain_line
        return
    try:
        import readline
    except ImportError:  # a Python that was built without it
        yield input
        return
    history = None
    with contextlib.suppress(OSError):  # a read-only home: no history
        history = state_file("chat_history")
        if not history.exists():
            history.touch(mode=0o600)
        readline.read_history_file(history)
    readline.set_history_length(_MAX_HISTORY)
    readline.parse_and_bind("tab: complete")
    try:
        yield input
    finally:
        if history is not None:
            with contextlib.suppress(OSError):
                readline.write_history_file(history)


def _plain_line(_: str) -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")
