"""What clients may read of native logs and failures: no paths of this machine, no long text."""

import re
from collections.abc import Iterable
from pathlib import Path

MAX_LOG_LINES = 10
_MAX_LINE = 300
_MAX_DETAIL = 500
# Two slashes at least, or one after a drive letter; what follows the last one may be told.
_ABSOLUTE = re.compile(
    r"(?<![\w.:/-])(?:[A-Za-z]:)?(?:[/\\][^\s/\\'\"`:,;()<>|]+)+[/\\](?=[^\s/\\])"
)
# What the worker's own log says that is no complaint; native prints have no level and stay.
_CHATTER = ("INFO ", "DEBUG ")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def redact_line(text: str, path: Path, model_id: str, limit: int = _MAX_LINE) -> str:
    """`text` on one line, with the model's id for its path and bare names for other paths."""
    text = text.replace(str(path), model_id)
    # Shards lie beside the first file and are told by their names.
    text = text.replace(f"{path.parent}/", "").replace(str(path.parent), "the models directory")
    text = _ABSOLUTE.sub("", _UNPRINTABLE.sub(" ", text)).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def redact_detail(text: str, path: Path, model_id: str) -> str:
    """A failure's sentence."""
    return redact_line(text, path, model_id, _MAX_DETAIL)


def redact_log(lines: Iterable[str], path: Path, model_id: str) -> tuple[str, ...]:
    """The last complaints of a log: warnings, errors, and what native code printed."""
    complaints = [line for line in lines if not line.startswith(_CHATTER)]
    return tuple(redact_line(line, path, model_id) for line in complaints[-MAX_LOG_LINES:])
