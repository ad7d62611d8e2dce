"""Workarounds for llama.cpp's JSON schema converter, before and after it runs; pure Python.

Bugs of common/json-schema-to-grammar.cpp: an integer with only one limit, of several digits, may
exceed it (build_min_max_int); names beside `properties` may be broken strings (_not_strings);
strings may contain halves of surrogate pairs, which count as two characters; dates may have days
that their month does not have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

MAX_INTEGER: Final = 2**53 - 1
"""The largest limit of an integer that csrc/schema.cpp accepts."""

_SCHEMAS: Final = ("items", "additionalProperties")
_LISTS: Final = ("items", "prefixItems", "anyOf", "oneOf", "allOf")
_MEMBERS: Final = ("properties", "$defs", "definitions")
_MAX_DEPTH: Final = 100

_CHAR: Final = (
    'char ::= [^"\\\\\\x7F\\x00-\\x1F] | [\\\\] (["\\\\bfnrt] | "u" [0-9a-fA-F]{4})\n',
    'char ::= [^"\\\\\\x7F\\x00-\\x1F] | [\\\\] (["\\\\bfnrt] | "u" ([0-9abcefABCEF] [0-9a-fA-F]{3}'
    " | [dD] [0-7] [0-9a-fA-F]{2}))\n",
)
_DATE: Final = re.compile(r"^date ::= .*$", re.MULTILINE)
_YEAR: Final = '[0-9]{3} [1-9] | [0-9]{2} [1-9] "0" | [0-9] [1-9] "00" | [1-9] "000"'
_DAY: Final = (
    '( "0" [13578] | "1" [02] ) "-" ( "0" [1-9] | [12] [0-9] | "3" [01] )'
    ' | ( "0" [469] | "11" ) "-" ( "0" [1-9] | [12] [0-9] | "30" )'
    ' | "02-" ( "0" [1-9] | "1" [0-9] | "2" [0-8] )'
)
_FOURS: Final = '( "0" [48] | [2468] [048] | [13579] [26] )'
_LEAP_YEAR: Final = f'[0-9]{{2}} {_FOURS} | {_FOURS} "00"'
# Valid dates of the years 0001 to 9999.
_REAL_DATE: Final = f'date ::= ( {_YEAR} ) "-" ( {_DAY} ) | ( {_LEAP_YEAR} ) "-02-29"'
_OTHER_NAMES: Final = re.compile(r'^(\S*additional-k\d* ::= \["\] \( )(.*)$', re.MULTILINE)


def is_open_wrongly(low: float | None, high: float | None) -> bool:
    """Return whether the grammar of an integer with these limits allows numbers beyond them."""
    if low is not None and high is None:
        return low >= 10
    return low is None and high is not None and high < 0


def completed(schema: Any, depth: int = 0) -> Any:
    """Return a schema with the same meaning that the converter converts correctly.

    Integers with one limit get the other one at plus or minus MAX_INTEGER; `true` becomes an empty
    schema. A top-level object (depth 0) with a property of an empty name is wrapped as the only
    alternative of an anyOf: else the rules of the property and of the schema would have one name.
    """
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return schema
    result = dict(schema)
    for key in _SCHEMAS:
        if isinstance(schema.get(key), Mapping):
            result[key] = completed(schema[key], depth + 1)
    for key in _LISTS:
        if isinstance(schema.get(key), list):
            result[key] = [_child(child, depth) for child in schema[key]]
    for key in _MEMBERS:
        if isinstance(schema.get(key), Mapping):
            result[key] = {name: _child(child, depth) for name, child in schema[key].items()}
    result |= _other_limit(schema)
    return _enclosed(result) if depth == 0 else result


def mended(grammar: str) -> str:
    """Return the converter's grammar, corrected to exclude broken strings and invalid dates."""
    grammar = ("\n" + grammar).replace("\n" + _CHAR[0], "\n" + _CHAR[1])[1:]
    grammar = _DATE.sub(_REAL_DATE, grammar)
    return _OTHER_NAMES.sub(
        lambda rule: rule[1] + rule[2].replace('[^"', '[^"\\\\\\x7F\\x00-\\x1F'), grammar
    )


def limits(schema: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the lowest and the highest integer that a schema allows; None for no limit."""
    low, high = _number(schema, "minimum"), _number(schema, "maximum")
    above, below = _number(schema, "exclusiveMinimum"), _number(schema, "exclusiveMaximum")
    if low is None and above is not None:
        low = above // 1 + 1
    if high is None and below is not None:
        high = -(-below // 1) - 1
    return (None if low is None else -(-low // 1)), (None if high is None else high // 1)


def _enclosed(schema: dict[str, Any]) -> dict[str, Any]:
    parts = schema.get("allOf")
    if not any(map(_has_nameless, [schema, *(parts if isinstance(parts, list) else ())])):
        return schema
    whole: dict[str, Any] = {"anyOf": [schema]}
    return whole | {key: schema.pop(key) for key in ("$defs", "definitions") if key in schema}


def _has_nameless(schema: Any) -> bool:
    members = schema.get("properties") if isinstance(schema, Mapping) else None
    return isinstance(members, Mapping) and "" in members


def _child(child: Any, depth: int) -> Any:
    return {} if child is True else completed(child, depth + 1)


def _other_limit(schema: Mapping[str, Any]) -> dict[str, int]:
    kinds = schema.get("type")
    if kinds != "integer" and not (isinstance(kinds, list) and "integer" in kinds):
        return {}
    low, high = limits(schema)
    if not is_open_wrongly(low, high):
        return {}
    return {"maximum": MAX_INTEGER} if high is None else {"minimum": -MAX_INTEGER}


def _number(schema: Mapping[str, Any], key: str) -> float | None:
    value = schema.get(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else None
