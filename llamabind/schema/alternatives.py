"""Whether a value can be described by two of a JSON schema's alternatives; pure Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, Final

Resolve = Callable[[Any], Any]

_MAX_DEPTH: Final = 8


def may_overlap(alternatives: Sequence[Any], resolve: Resolve) -> bool:
    """Return False only if no value can hold for two of the schemas.

    They differ by type, by fixed values, or by a property that all objects must have.
    """
    return any(_may_meet(one, other, resolve, 0) for one, other in combinations(alternatives, 2))


def type_of(schema: Mapping[str, Any]) -> str | None:
    """Return the one type that values of a schema have; None if there is no such."""
    if "const" in schema:
        return _type_of_value(schema["const"])
    kind = schema.get("type")
    if kind is None and "properties" in schema:
        return "object"
    return kind if isinstance(kind, str) else None


def _may_meet(one: Any, other: Any, resolve: Resolve, depth: int) -> bool:
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
    return kind != "object" or not _is_told_apart(one, other, resolve, depth)


def _is_told_apart(
    one: Mapping[str, Any], other: Mapping[str, Any], resolve: Resolve, depth: int
) -> bool:
    """Tell whether a property that both must have cannot be the same."""
    both = set(one.get("required", ())) & set(other.get("required", ()))
    return any(
        not _may_meet(
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
    # 1.0 and 1 are one number to JSON schema.
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
