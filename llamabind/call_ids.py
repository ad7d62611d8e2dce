"""with_any_call_id: formats whose calls have ids that the model makes up. Pure Python.

llama.cpp finds out a template's format by rendering calls with an id of its own
(common/chat-diff-analyzer.cpp). Where the id comes first in a call (Solar-Open) it takes the id for
the beginning of the mark behind it: every call would have this one id, and no other be read.
"""

import json
import re
from typing import Any, Final

_ID: Final = "call00001"
_MARK: Final = re.compile(rf'"{_ID}(<[^"]*)"')
_LETTERS: Final = "[a-zA-Z0-9_-]"
_ANY_ID: Final = {
    "type": "chars",
    "pattern": _LETTERS,
    "ranges": [
        {"start": ord(first), "end": ord(last)} for first, last in ("az", "AZ", "09", "__", "--")
    ],
    "negated": False,
    "min_count": 1,
    "max_count": 64,
}


def with_any_call_id(grammar: str, parser_spec: str) -> tuple[str, str]:
    """Return the grammar and the parser of a format (RenderedPrompt) with any id in that place."""
    if _ID + "<" not in parser_spec:
        return grammar, parser_spec
    spec = json.loads(parser_spec)
    arena = json.loads(spec["parser"])
    _free_ids(arena["parsers"])
    spec["parser"] = json.dumps(arena)
    return _MARK.sub(rf'{_LETTERS}{{1,64}} "\1"', grammar), json.dumps(spec)


def _free_ids(parsers: list[dict[str, Any]]) -> None:
    """Put an id and the mark, two new parsers, in place of each literal of both."""
    for parser in list(parsers):
        literal = parser.get("literal", "")
        if parser["type"] == "literal" and literal.startswith(_ID + "<"):
            first = len(parsers)
            parsers += [_ANY_ID, {"type": "literal", "literal": literal.removeprefix(_ID)}]
            parser.clear()
            parser.update(type="sequence", children=[first, first + 1])
