"""Changes to llama.cpp's grammars and parsers of a template's answers. Pure Python.

They keep a model from producing text that the parser would discard: talk before a forced call, an
answer within reasoning that never ends. And they let a call have any id.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

# common/chat-auto-parser-generator.cpp writes "any text up to the call's mark" as a rule of this
# name ahead of the calls. Text that reasons is followed by its end mark instead, and stays.
_TALK: Final = re.compile(r" until-\d+\?? (?=(?:space )?[\w-]*tool-call)")
# The formats of Qwen3-Coder and its like let a call end a thought in place of its tag.
_OPEN_END: Final = re.compile(r'\(("(?:[^"\\]|\\.)*") \| \)')
# The id in the calls that llama.cpp renders to find out a template's format.
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


def without_talk(grammar: str) -> str:
    """Return the grammar of a forced tool call without the free text that may precede the call.

    llama.cpp allows it also where tool_choice is "required", so that a small model may talk until
    its tokens are spent and never call. All that is left out may be empty: what the result allows,
    the parser of the answer knows.
    """
    return _with_root(grammar, lambda root: _TALK.sub(" ", root))


def with_ended_reasoning(grammar: str) -> str:
    """Return the grammar of an answer that follows a schema, in which a thought ends by its tag.

    Without the tag all of the answer would be read as a thought.
    """
    return _with_root(grammar, lambda root: _OPEN_END.sub(r"\1", root))


def with_any_call_id(grammar: str, parser_spec: str) -> tuple[str, str]:
    """Return the grammar and the parser of a format (RenderedPrompt) that take any id of a call.

    llama.cpp finds out a template's format by rendering calls with an id of its own
    (common/chat-diff-analyzer.cpp). Where the id comes first in a call (Solar-Open) it takes the id
    for the beginning of the mark behind it: every call would have this one id, and a call with
    another id would not be read.
    """
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


def _with_root(grammar: str, change: Callable[[str], str]) -> str:
    return "\n".join(
        change(line) if line.startswith("root ::= ") else line for line in grammar.split("\n")
    )
