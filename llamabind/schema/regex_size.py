"""regex_size: how large a regular expression becomes with its repetitions written out."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(?P<low>\d*)(?P<comma>,?)(?P<high>\d*)\}|.", re.DOTALL
)


def regex_size(pattern: str) -> int:
    """Return about how many characters and classes the pattern has without counts like {1,9}."""
    sizes: list[list[int]] = [[]]  # for each open group the sizes of its parts
    for match in _TOKEN.finditer(pattern):
        token = match[0]
        if token == "(":
            sizes.append([])
        elif token == ")" and len(sizes) > 1:
            inside = sum(sizes.pop())
            sizes[-1].append(inside)
        elif token[0] == "{" and (match["low"] or match["high"]):
            if sizes[-1]:
                sizes[-1][-1] *= max(1, int(match["high"] or match["low"]))
        else:
            sizes[-1].append(1)
    return sum(sum(group) for group in sizes)
