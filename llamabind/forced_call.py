"""forced_call: what keeps a model that must call a tool from talking first. Pure Python."""

import re
from typing import Final

# common/chat-auto-parser-generator.cpp writes "any text up to the call's mark" as a rule of this
# name ahead of the calls. Text that reasons is followed by its end mark instead, and stays.
_TALK: Final = re.compile(r" until-\d+\?? (?=(?:space )?[\w-]*tool-call)")


def without_talk(grammar: str) -> str:
    """Return the grammar of a forced tool call without the free text that may precede the call.

    llama.cpp allows it also where tool_choice is "required", so that a small model may talk until
    its tokens are spent and never call. All that is left out may be empty: what the result allows,
    the parser of the answer knows.
    """
    return "\n".join(
        _TALK.sub(" ", line) if line.startswith("root ::= ") else line
        for line in grammar.split("\n")
    )
