"""Screen: what the terminal can show, on stdout and stderr."""

import os
import shutil
import sys
import unicodedata
from typing import Final, TextIO

_RESET: Final = "\x1b[0m"
_STYLES: Final = {"bold": "\x1b[1m", "dim": "\x1b[2m", "red": "\x1b[31m", "green": "\x1b[32m"}
_MIN_WIDTH: Final = 20
# Control characters of C0 and C1 but tab and new line: in a model's answer or a file's name they
# could move the cursor, change the window's title or answer queries of the terminal.
_CONTROLS: Final = {code: None for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def is_terminal(stream: TextIO) -> bool:
    """Whether people see `stream`; False for pipes and files."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def has_colours(stream: TextIO) -> bool:
    """Whether to write colours: to a terminal, unless NO_COLOR is set or TERM is dumb."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return is_terminal(stream)


def styled(text: str, style: str, stream: TextIO | None = None) -> str:
    """`text` in bold, dim, red or green where `stream` (by default stdout) has colours."""
    if not text or not has_colours(stream or sys.stdout):
        return text
    return f"{_STYLES[style]}{text}{_RESET}"


def safe(text: str) -> str:
    """`text` without control characters, for a terminal."""
    return text.translate(_CONTROLS)


def terminal_width(stream: TextIO) -> int | None:
    """Columns of the terminal behind `stream`; None for a pipe or file, where nothing is cut."""
    if not is_terminal(stream):
        return None
    return max(_MIN_WIDTH, shutil.get_terminal_size().columns)


def text_width(text: str) -> int:
    """Columns that `text` takes: two for East Asian wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in "WF")
        for one in text
    )


def shortened(text: str, width: int) -> str:
    """`text` in at most `width` columns, its end replaced by … if it is longer."""
    if text_width(text) <= width:
        return text
    kept = text
    while kept and text_width(kept) > width - 1:
        kept = kept[:-1]
    return f"{kept}…"


def say(text: str) -> None:
    """Print a remark for people to stderr, so that stdout has results only."""
    print(safe(text), file=sys.stderr, flush=True)
