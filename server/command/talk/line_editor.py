"""line_reader: reads lines from the terminal by readline, with history and completion."""

import contextlib
import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Final

from server.command.client.state_folder import state_file
from server.command.talk.prompt import ReadLine

_MAX_HISTORY: Final = 1000
# /commands that a path follows.
_TAKE_PATHS: Final = ("/image", "/audio", "/save", "/load")
# Returns all completions of a line.
Complete = Callable[[str], Iterable[str]]


@contextlib.contextmanager
def line_reader(complete: Complete) -> Iterator[ReadLine]:
    """Yields a ReadLine: with editing, history and completion in a terminal, else plain lines."""
    if not sys.stdin.isatty():
        yield _plain_line
        return
    try:
        import readline
    except ImportError:  # a Python that was built without it
        yield input
        return
    readline.set_completer_delims(" ")
    readline.set_completer(_completer(readline, complete))
    readline.parse_and_bind("tab: complete")
    history = _History(readline)

    def read(prompt: str) -> str:
        line = input(prompt)
        history.keep()
        return line

    try:
        yield read
    finally:
        readline.set_completer(None)


def completions(
    line: str, commands: Iterable[str], models: Callable[[], Iterable[str]]
) -> list[str]:
    """The words that may stand at the end of `line`, which they begin with."""
    command, space, rest = line.partition(" ")
    if not command.startswith("/"):
        return []
    if not space:
        return [f"{name} " for name in commands if name.startswith(command)]
    if command == "/model":
        return [name for name in models() if name.startswith(rest)]
    if command in _TAKE_PATHS:
        word = rest.rpartition(" ")[2]
        found = sorted(glob.glob(f"{glob.escape(word)}*"))  # noqa: PTH207 - as it was typed
        return [f"{path}/" if os.path.isdir(path) else path for path in found]  # noqa: PTH112
    return []


class _History:
    """The lines of earlier chats.

    Each line is added to the file at once: several chats may run, and a chat may be killed.
    """

    def __init__(self, readline: ModuleType) -> None:
        self._readline = readline
        self._file = None
        self._n_lines = 0
        readline.set_history_length(_MAX_HISTORY)
        with contextlib.suppress(OSError):  # a home that cannot be written: no history
            file = state_file("chat_history")
            file.touch(mode=0o600)
            readline.read_history_file(file)
            self._n_lines = readline.get_current_history_length()
            if self._n_lines > _MAX_HISTORY:
                readline.write_history_file(file)  # the last ones
            self._file = file

    def keep(self) -> None:
        """Add the line that was just read to the file; readline leaves out empty ones."""
        n_lines = self._readline.get_current_history_length()
        if self._file is None or n_lines == self._n_lines:
            return
        self._n_lines = n_lines
        with contextlib.suppress(OSError):
            if hasattr(self._readline, "append_history_file"):
                self._readline.append_history_file(1, self._file)
            else:  # libedit
                self._readline.write_history_file(self._file)


def _completer(readline: ModuleType, complete: Complete) -> Callable[[str, int], str | None]:
    found: list[str] = []

    def at(_: str, index: int) -> str | None:
        if index == 0:
            found[:] = complete(readline.get_line_buffer()[: readline.get_endidx()])
        return found[index] if index < len(found) else None

    return at


def _plain_line(_: str) -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")
