"""Whether a value can match two alternatives of a JSON schema; pure Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, Final

Resolve = Callable[[Any], Any]

_MAX_DEPTH: Final = 8


def may_overlap(alternatives: Sequence[Any], resolve: Resolve) -> bool:
    """Return False only if no value can match two of the schemas.

    They then differ in type, in fixed values, or in a property that both require.
    """
    return any(_may_overlap(one, other, resolve, 0) for one, other in combinations(alternatives, 2))


def type_of(schema: Mapping[str, Any]) -> str | None:
    """Return the only type that values of a schema have; None if it has several or is unknown."""
    if "const" in schema:
        return _type_of_value(schema["const"])
    kind = schema.get("type")
    if kind is None and "properties" in schema:
        return "object"
    return kind if isinstance(kind, str) else None


def _may_overlap(one: Any, other: Any, resolve: Resolve, depth: int) -> bool:
    one, other = resolve(one), resolve(other)
    if not isinstance(one, Mapping) or not isinstance(other, Mapping) or depth > _MAX_DEPTH:
        return True
    values, other_values = _values(one), _values(other)
    if values is not None and other_values is not None:
        return bool(values & other_values)
    kind, other_kind = type_of(one), type_of(other)
    if kind is None or other_kind is None:
        return True
    if kind != other_kind:
        return {kind, other_kind} == {"integer", "number"}
    return kind != "object" or not _differs_in_property(one, other, resolve, depth)


def _differs_in_property(
    one: Mapping[str, Any], other: Mapping[str, Any], resolve: Resolve, depth: int
) -> bool:
    """Return whether a property that both require cannot have the same value in both."""
    both = set(one.get("required", ())) & set(other.get("required", ()))
    return any(
        not _may_overlap(
            one.get("properties", {}).get(name),
            other.get("properties", {}).get(name),
            resolve,
            depth + 1,
        )
        for name in both
    )


def _values(schema: Mapping[str, Any]) -> set[str] | None:
    if "const" in schema:
        return {_canonical(schema["const"])}
    values = schema.get("enum")
    return {_canonical(value) for value in values} if isinstance(values, list) else None


def _canonical(value: Any) -> str:
    # 1.0 and 1 are the same number in JSON schema.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True)


_TYPES: Final = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}


def _type_of_value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    return _TYPES[type(value)]
