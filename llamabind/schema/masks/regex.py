"""Regular expressions of JSON schemas (ECMA-262), written for llguidance, which reads Rust's.

Pure Python.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(?P<count>\{(?P<low>\d*)(?P<comma>,?)(?P<high>\d*)\})|.",
    re.DOTALL,
)
# What Rust takes for a count, where ECMA-262 has only text.
_LOOSE_COUNT: Final = re.compile(r"\{\s*\d*\s*(,\s*\d*\s*)?\}")
_COUNT: Final = re.compile(r"\{\d+(,\d*)?\}")
# Characters that have a meaning in Rust's classes only.
_ONLY_IN_RUST: Final = re.compile(r"\\.|[\[&~]", re.DOTALL)
_ANY_CHARACTER: Final = r"[^\n\r\u2028\u2029]"


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
        elif match["count"] and (match["low"] or match["high"]):
            if sizes[-1]:
                sizes[-1][-1] *= max(1, int(match["high"] or match["low"]))
        else:
            sizes[-1].append(1)
    return sum(sum(group) for group in sizes)


def why_ambiguous(pattern: str) -> str:
    """Return what in a pattern Rust reads differently; "" if there is nothing."""
    outside = "".join(m[0] if m[0][0] not in "[\\" else "x" for m in _TOKEN.finditer(pattern))
    for match in _LOOSE_COUNT.finditer(outside):
        if not _COUNT.fullmatch(match[0]):
            return f"{match[0]!r} is not a count: write {{1}}, {{1,}} or {{1,2}}"
    classes = [match[0] for match in _TOKEN.finditer(pattern) if len(match[0]) > 2]
    if any("--" in one for one in classes if one[0] == "["):
        return "'--' in a class is ambiguous: put a backslash before the second '-'"
    return ""


def as_rust(pattern: str) -> str:
    """Return the pattern with the same meaning for Rust's regular expressions."""
    return "".join(_token_as_rust(match[0]) for match in _TOKEN.finditer(pattern))


def _token_as_rust(token: str) -> str:
    if token == ".":
        return _ANY_CHARACTER
    if token[0] != "[" or len(token) == 1:
        return token
    begin = "[^" if token.startswith("[^") else "["
    inside = token[len(begin) : -1]
    escaped = _ONLY_IN_RUST.sub(lambda m: m[0] if len(m[0]) > 1 else f"\\{m[0]}", inside)
    return f"{begin}{escaped}]"
