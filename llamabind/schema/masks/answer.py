"""answer_schemas: the schema of an answer as it can be enforced, and what it loses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from llamabind.errors import InvalidParameterError
from llamabind.schema.masks.compiler import why_no_schema
from llamabind.schema.masks.fit import fitted, only_type
from llamabind.schema.warning import SchemaWarning

Node = dict[str, Any]
Warnings = tuple[SchemaWarning, ...]

# Keywords that may contradict each other, or that llguidance supports only in some places.
_DOUBTFUL: Final = (
    ("patternProperties",),
    ("minProperties",),
    ("maxProperties",),
    ("multipleOf",),
    ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"),
    ("pattern", "format"),
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("required",),
    ("enum",),
    ("const",),
    ("anyOf", "oneOf"),
    ("allOf",),
)
_REPETITIONS: Final = frozenset({"pattern", "minLength", "maxLength", "minItems", "maxItems"})
_VALUES: Final = ("enum", "const")


def answer_schemas(
    schema: Mapping[str, Any], where: str, *, is_lenient: bool
) -> Iterator[tuple[Node, Warnings]]:
    """Yield the schema as llguidance takes it, then looser ones in case it is too large.

    Without `is_lenient` there is only one, and InvalidParameterError names the first keyword that
    cannot be enforced.
    """
    try:
        json.dumps(schema, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParameterError(where, f"cannot be written as JSON: {error}") from error
    node, warnings = fitted(schema, where)
    if not is_lenient and warnings:
        raise InvalidParameterError(warnings[0].path, warnings[0].reason)
    if reason := why_no_schema(node):
        node, warning = _without_doubtful(node, schema, where, reason)
        if not is_lenient:
            raise InvalidParameterError(warning.path, warning.reason)
        warnings = (*warnings, warning)
    yield node, warnings
    if not is_lenient:
        return
    shorter = _without(node, _REPETITIONS)
    if shorter != node and not why_no_schema(shorter):
        reason = "the grammar is too large with its patterns, lengths and counts"
        yield shorter, (*warnings, SchemaWarning(where, reason))
    reason = "the grammar is too large, so only the top-level type is enforced"
    yield only_type(schema), (SchemaWarning(where, reason),)


def _without_doubtful(
    node: Node, schema: Mapping[str, Any], where: str, reason: str
) -> tuple[Node, SchemaWarning]:
    """Return the schema without the keywords that make llguidance refuse it."""
    for keywords in _DOUBTFUL:
        rest = _without(node, frozenset(keywords))
        if rest != node and not why_no_schema(rest):
            path = next((p for p in _paths(schema, where) if p.endswith(keywords)), where)
            return rest, SchemaWarning(path, reason)
    return only_type(schema), SchemaWarning(where, reason)


def _without(value: Any, keywords: frozenset[str], *, is_names: bool = False) -> Any:
    if isinstance(value, list):
        return [_without(item, keywords) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: item
        if key in _VALUES and not is_names
        else _without(item, keywords, is_names=not is_names and _holds_names(key))
        for key, item in value.items()
        if is_names or key not in keywords
    }


def _paths(value: Any, path: str) -> Iterator[str]:
    """Yield the paths of all parts of a schema."""
    members: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, Mapping) else ()
    for key, item in enumerate(value) if isinstance(value, list) else members:
        yield f"{path}/{key}"
        if key not in _VALUES:
            yield from _paths(item, f"{path}/{key}")


def _holds_names(key: str) -> bool:
    return key in ("properties", "patternProperties", "$defs", "definitions")
