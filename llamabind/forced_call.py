"""forced_call: what keeps a model from saying what no reader of its answer gets. Pure Python.

That is talk before a call that must come, and an answer within a thought that never ends.
"""

import re
from collections.abc import Callable
from typing import Final

# common/chat-auto-parser-generator.cpp writes "any text up to the call's mark" as a rule of this
# name ahead of the calls. Text that reasons is followed by its end mark instead, and stays.
_TALK: Final = re.compile(r" until-\d+\?? (?=(?:space )?[\w-]*tool-call)")
# The formats of Qwen3-Coder and its like let a call end a thought in place of its tag.
_OPEN_END: Final = re.compile(r'\(("(?:[^"\\]|\\.)*") \| \)')


def without_talk(grammar: str) -> str:
    """Return the grammar of a forced tool call without the free text that may precede the call.

    llama.cpp allows it also where tool_choice is "required", so that a small model may talk until
    its tokens are spent and never call. All that is left out may be empty: what the result allows,
    the parser of the answer knows.
    """
    return _with_root(grammar, lambda root: _TALK.sub(" ", root))


def with_ended_thought(grammar: str) -> str:
    """Return the grammar of an answer that follows a schema, in which a thought ends by its tag.

    Without the tag all of the answer would be read as a thought.
    """
    return _with_root(grammar, lambda root: _OPEN_END.sub(r"\1", root))


def _with_root(grammar: str, change: Callable[[str], str]) -> str:
    return "\n".join(
        change(line) if line.startswith("root ::= ") else line for line in grammar.split("\n")
    )
