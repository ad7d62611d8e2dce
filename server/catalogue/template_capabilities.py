"""What a chat template knows, seen without running it: tools, thoughts."""

import re
from typing import Final

_BEGIN: Final = re.compile(r"\{[{%]")
_END: Final = re.compile(r"[%}]\}")
_TOOLS: Final = re.compile(r"\btools\b")
_THOUGHTS: Final = re.compile(r"reasoning_content|think>|\[THINK\]|_THINKING|<\|channel|thinking")


def renders_tools(template: str) -> bool:
    """Whether Jinja source names `tools` in its code.

    llama.cpp renders a template to find out, which only a worker can; of all templates of its
    source both say the same (tests/native/chat/test_template.py).
    """
    codes = (_END.split(rest, maxsplit=1)[0] for rest in _BEGIN.split(template)[1:])
    return any(_TOOLS.search(code) for code in codes)


def renders_thinking(template: str) -> bool:
    """Whether Jinja source has a word or a mark for what a model thinks.

    What llama.cpp finds out differs for a few templates of its source only, which the same test
    names.
    """
    return _THOUGHTS.search(template) is not None
