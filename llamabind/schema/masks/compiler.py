"""llguidance's limits: the patterns and schemas that it accepts, and their largest automata."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from llamabind.schema.masks.regex import as_rust, regex_size, why_ambiguous

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llguidance import LLParserLimits

_MAX_PATTERN: Final = 2048
_MAX_REGEX_SIZE: Final = 20_000

WHITESPACE: Final = r" |\n{1,2}[ \t]{0,20}"
"""What may stand between two parts of an answer, as in llama.cpp's grammars of schemas."""


@cache
def limits() -> LLParserLimits:
    """llguidance's limits: the defaults, but for memory: 20,000 states are about 40 MB."""
    from llguidance import LLParserLimits

    return LLParserLimits(max_lexer_states=20_000, verbose_errors=False)


def why_no_pattern(pattern: Any) -> str:
    """Return why a regular expression cannot be enforced; "" if it can."""
    if not isinstance(pattern, str):
        return "it is not a string"
    if len(pattern.encode(errors="replace")) > _MAX_PATTERN:
        return f"it is longer than {_MAX_PATTERN} bytes"
    if regex_size(pattern) > _MAX_REGEX_SIZE:
        return f"its repetitions make more than {_MAX_REGEX_SIZE} characters"
    return why_ambiguous(pattern) or _why_not_taken(as_rust(pattern))


@lru_cache(maxsize=1024)
def _why_not_taken(pattern: str) -> str:
    return why_no_schema({"type": "string", "pattern": pattern})


def why_no_schema(schema: Mapping[str, Any]) -> str:
    """Return why llguidance refuses a schema; "" if it takes it."""
    from llguidance import LLMatcher

    try:
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema))
    except ValueError as error:
        return reason_of(str(error))
    return reason_of(LLMatcher.validate_grammar(grammar, limits=limits()))


def reason_of(message: str) -> str:
    """Return the reason from an error message of llguidance, as one line without the grammar."""
    _, marker, reason = message.rpartition("error: ")
    return (reason if marker else message.split("\n", 1)[0])[:200].strip()
