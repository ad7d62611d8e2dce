"""Fixes of the grammars and parsers that llama.cpp derives from a chat template. Pure Python.

They stop the model from producing text that the parser would discard, before a required tool call,
and let a tool call have any id.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

# common/chat-auto-parser-generator.cpp names the rule "any text up to the call's start tag" like
# this and puts it before the calls. Reasoning is followed by its end tag instead, so it is kept.
_TEXT_BEFORE_CALL: Final = re.compile(r" until-\d+\?? (?=(?:space )?[\w-]*tool-call)")
# The id of the tool calls that llama.cpp renders to detect a template's format.
_ID: Final = "call00001"
_ID_AND_TAG: Final = re.compile(rf'"{_ID}(<[^"]*)"')
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


def without_talk(grammar: str) -> str:
    """Return the grammar of a required tool call without the free text that may precede the call.

    llama.cpp allows that text even with tool_choice "required", so a small model may write it until
    max_tokens and never call a tool. The removed rule also matches the empty text, so the parser
    still accepts every answer that the result allows.
    """
    return _with_root(grammar, lambda root: _TEXT_BEFORE_CALL.sub(" ", root))


def with_any_call_id(grammar: str, parser_spec: str) -> tuple[str, str]:
    """Return the grammar and the parser of a format (RenderedPrompt) with any tool call id allowed.

    llama.cpp detects a template's format by rendering calls with an id of its own
    (common/chat-diff-analyzer.cpp). Where the id comes first in a call (Solar-Open), it takes the
    id for the beginning of the tag after it: every call would get this one id, and a call with
    another id would not be parsed.
    """
    if _ID + "<" not in parser_spec:
        return grammar, parser_spec
    spec = json.loads(parser_spec)
    arena = json.loads(spec["parser"])
    _free_ids(arena["parsers"])
    spec["parser"] = json.dumps(arena)
    return _ID_AND_TAG.sub(rf'{_LETTERS}{{1,64}} "\1"', grammar), json.dumps(spec)


def _free_ids(parsers: list[dict[str, Any]]) -> None:
    """Replace each literal of the id and a tag by two new parsers: any id, then the tag."""
    for parser in list(parsers):
        literal = parser.get("literal", "")
        if parser["type"] == "literal" and literal.startswith(_ID + "<"):
            first = len(parsers)
            parsers += [_ANY_ID, {"type": "literal", "literal": literal.removeprefix(_ID)}]
            parser.clear()
            parser.update(type="sequence", children=[first, first + 1])


def _with_root(grammar: str, change: Callable[[str], str]) -> str:
    return "\n".join(
        change(line) if line.startswith("root ::= ") else line for line in grammar.split("\n")
    )
