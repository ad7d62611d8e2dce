"""Redacts native logs and failures for clients: removes paths of this machine, bounds lengths."""

import re
from collections.abc import Iterable
from pathlib import Path

MAX_LOG_LINES = 10
_MAX_LINE = 300
_MAX_DETAIL = 500
# Two slashes at least, or one after a drive letter; what follows the last one is kept.
_ABSOLUTE = re.compile(
    r"(?<![\w.:/-])(?:[A-Za-z]:)?(?:[/\\][^\s/\\'\"`:,;()<>|]+)+[/\\](?=[^\s/\\])"
)
# Levels of the worker's log that are left out; lines of native code have no level and are kept.
_OMITTED_LEVELS = ("INFO ", "DEBUG ")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def redact_line(text: str, path: Path, model_id: str, limit: int = _MAX_LINE) -> str:
    """`text` on one line, with the model's id for its path and bare names for other paths."""
    text = text.replace(str(path), model_id)
    # The other shards are in the same directory: only their file names are kept.
    text = text.replace(f"{path.parent}/", "").replace(str(path.parent), "the models directory")
    text = _ABSOLUTE.sub("", _UNPRINTABLE.sub(" ", text)).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def redact_detail(text: str, path: Path, model_id: str) -> str:
    """The detail of a failure, as one line of at most 500 characters."""
    return redact_line(text, path, model_id, _MAX_DETAIL)


def redact_log(lines: Iterable[str], path: Path, model_id: str) -> tuple[str, ...]:
    """The last 10 warnings, errors and lines of native code in a log."""
    problems = [line for line in lines if not line.startswith(_OMITTED_LEVELS)]
    return tuple(redact_line(line, path, model_id) for line in problems[-MAX_LOG_LINES:])
