"""Whether a chat template supports tools and reasoning, found from its source alone."""

import re
from typing import Final

_BEGIN: Final = re.compile(r"\{[{%]")
_END: Final = re.compile(r"[%}]\}")
_TOOLS: Final = re.compile(r"\btools\b")
_REASONING: Final = re.compile(r"reasoning_content|think>|\[THINK\]|_THINKING|<\|channel|thinking")


def renders_tools(template: str) -> bool:
    """Whether Jinja source names `tools` in its code.

    llama.cpp renders a template to find out, which only a worker can do. For all templates in
    llama.cpp's sources both give the same result (tests/native/chat/test_template.py).
    """
    codes = (_END.split(rest, maxsplit=1)[0] for rest in _BEGIN.split(template)[1:])
    return any(_TOOLS.search(code) for code in codes)


def renders_thinking(template: str) -> bool:
    """Whether Jinja source contains a word or a tag for a model's reasoning.

    The result differs from llama.cpp's only for a few templates, which the same test lists.
    """
    return _REASONING.search(template) is not None
