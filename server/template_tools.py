"""renders_tools: whether a chat template tells the model of tools, seen without running it."""

import re
from typing import Final

_BEGIN: Final = re.compile(r"\{[{%]")
_END: Final = re.compile(r"[%}]\}")
_TOOLS: Final = re.compile(r"\btools\b")


def renders_tools(template: str) -> bool:
    """Whether Jinja source names `tools` in its code.

    llama.cpp renders a template to find out, which only a worker can; of all templates of its
    source both say the same (tests/native/test_chat_template.py).
    """
    codes = (_END.split(rest, maxsplit=1)[0] for rest in _BEGIN.split(template)[1:])
    return any(_TOOLS.search(code) for code in codes)
