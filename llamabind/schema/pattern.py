"""Which regular expressions of a JSON schema llama.cpp converts correctly; pure Python.

llama.cpp puts the text that a pattern matches between two quotes without escaping it
(json-schema-to-grammar.cpp). A quote, a backslash or a control character would end the JSON string
or break it.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import Final

_MAX_REPEATS: Final = 2000
_FORBIDDEN: Final = (*range(0x20), 0x22, 0x5C, 0x7F)
_ESCAPE: Final = r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)"
_ITEM: Final = re.compile(rf"{_ESCAPE}|.", re.DOTALL)
_TOKEN: Final = re.compile(rf"{_ESCAPE}|\[(?:\\.|[^\]\\])*\]|\{{[^}}]*\}}|.", re.DOTALL)
_COUNT: Final = re.compile(r"\{\d+(?:,\d*)?\}")
_NO_LETTERS: Final = frozenset("|.()[]{}*+?^$")
# What the converter supports (common/json-schema-to-grammar.cpp, _pattern_to_rule).
_GBNF_ESCAPE: Final = r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[trn\\\"\[\]-])"
_KNOWN: Final = re.compile(
    rf"(?:{_GBNF_ESCAPE}|\\[\^$.()|{{}}*+?]|\[(?:{_GBNF_ESCAPE}|[^\]\\])+\]"
    r"|\{[^}]*\}|\((?:\?:|(?!\?))|[^\\\[\]{}(^$])*",
    re.DOTALL,
)
_MAX_BYTES: Final = 2048
_MAX_GROUPS: Final = 100
_CONTROLS: Final = {"t": "\t", "r": "\r", "n": "\n"}


def why_not_honoured(pattern: str) -> str:
    """Return why the grammar of a pattern would allow other strings or broken JSON; "" if not.

    Patterns that cannot be converted at all are left to the converter, which refuses them.
    """
    tokens = [match[0] for match in _TOKEN.finditer(pattern)]
    reasons = (_why_not(token) for token in tokens)
    repeated = map(_why_not_repeated, ["^", *tokens], tokens, tokens[1:])
    return next(filter(None, chain(reasons, repeated)), "")


def why_no_grammar(pattern: str) -> str:
    """Return why a pattern has no grammar, or one that allows other strings; "" if it has one."""
    if len(pattern.encode(errors="replace")) > _MAX_BYTES:
        return f"it is longer than {_MAX_BYTES} bytes"
    if not (len(pattern) > 2 and pattern.startswith("^") and pattern.endswith("$")):
        return "it does not begin with ^ and end with $"
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"it is not a regular expression: {error}"
    inside = pattern[1:-1]
    match = _KNOWN.match(inside)
    end = match.end() if match else 0
    if end < len(inside) or inside.count("(") > _MAX_GROUPS:
        return f"it contains {inside[end : end + 10]!r}, which a grammar cannot express"
    return why_not_honoured(pattern)


def _why_not_repeated(before: str, token: str, following: str) -> str:
    """The converter repeats too much or too little: all of a word that ends in an escape, or only
    the last byte of a letter that is not ASCII.
    """
    is_multibyte = len(token) == 1 and not token.isascii()
    is_escape = token[0] == "\\" and before[0] not in _NO_LETTERS
    if following[0] in "*+?{" and (is_multibyte or is_escape):
        return (
            f"'{token}{following[0]}' would repeat more than '{token}': put '{token}' in brackets"
        )
    if following[0] == "{" and not _COUNT.fullmatch(following):
        return f"'{following}' is not a count: write {{1}}, {{1,}} or {{1,2}}"
    return ""


def _why_not(token: str) -> str:
    if token == ".":
        return "'.' also matches quotes, which would end the string; list the characters"
    if token[0] == "[" and len(token) > 1:
        return _why_not_class(token[1:-1])
    if token[0] == "{" and len(token) > 1:
        is_huge = any(int(count) > _MAX_REPEATS for count in re.findall(r"\d+", token))
        return (
            f"repeats more than {_MAX_REPEATS} times, the most that a grammar can count" * is_huge
        )
    if ord(_character(token)) in _FORBIDDEN:
        return (
            "matches a quote, a backslash or a control character, which would break the JSON string"
        )
    return ""


def _why_not_class(inside: str) -> str:
    if inside.startswith("^"):
        return f"'[{inside}]' also matches quotes, which would end the string"
    items = [(match[0], _character(match[0])) for match in _ITEM.finditer(inside)]
    position = 0
    while position < len(items):
        low = high = ord(items[position][1])
        if position + 2 < len(items) and items[position + 1][0] == "-":
            high = ord(items[position + 2][1])
            position += 2
        if high < low or any(low <= code <= high for code in _FORBIDDEN):
            return f"'[{inside}]' matches a quote, a backslash or a control character"
        position += 1
    return ""


def _character(item: str) -> str:
    """Return the character that an item of a pattern matches."""
    if len(item) == 1:
        return item
    if item[1] in "xuU" and len(item) > 2:
        code = int(item[2:], 16)
        return chr(code) if code <= 0x10FFFF else "\0"
    return _CONTROLS.get(item[1], item[1])
