"""KindFitter: the keywords of objects and arrays, as llguidance takes them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import combinations, permutations
from math import comb
from typing import Any, Final

from llamabind.schema.keywords import is_idle
from llamabind.schema.masks.compiler import why_no_pattern
from llamabind.schema.masks.fit_scalars import MAX_COUNT, Node, ScalarFitter
from llamabind.schema.masks.regex import as_rust
from llamabind.schema.nodes import types_of
from llamabind.schema.warning import shown

_MAX_PROPERTIES: Final = 1000
_MAX_CHOICES: Final = 64
_MAX_ARRAYS: Final = 400

_NAME_KEYWORDS: Final = frozenset({"type", "pattern", "minLength", "maxLength", "enum", "const"})


class KindFitter(ScalarFitter, ABC):
    """The rules for each type. Methods change the node in place, which is a copy."""

    @abstractmethod
    def node(self, value: Any, path: str, depth: int, *, merges: bool = False) -> Any:
        """Return a fitted copy of any node.

        With `merges` other schemas describe the same value, so the copy must not allow less.
        """

    @abstractmethod
    def resolve(self, node: Any) -> Any:
        """Return the node at the end of a chain of references; None if it does not exist."""

    def of_kind(self, kind: str, node: Node, path: str, depth: int, *, merges: bool) -> None:
        """Fit the keywords of a node that apply to one type."""
        match kind:
            case "object":
                self._object(node, path, depth, merges)
            case "array":
                self._array(node, path, depth, merges)
            case _:
                self.of_scalar(kind, node, path, merges=merges)

    # -- objects

    def _object(self, node: Node, path: str, depth: int, merges: bool) -> None:
        if "properties" in node:
            self._properties(node, path, depth)
        if "required" in node:
            self._required(node, path)
        if "patternProperties" in node:
            self._pattern_properties(node, path, depth)
        if "additionalProperties" in node:
            child_path = f"{path}/additionalProperties"
            node["additionalProperties"] = self.node(
                node["additionalProperties"], child_path, depth + 1
            )
        if "propertyNames" in node:
            self._property_names(node, path)
        is_known = "properties" in node or "patternProperties" in node
        if is_known and not merges and "additionalProperties" not in node and _is_whole(node):
            node["additionalProperties"] = False
            if "patternProperties" not in node:
                for name in node.get("required", ()):
                    node.setdefault("properties", {}).setdefault(name, {})
        if node.get("additionalProperties") is False:
            self.forget(node, "unevaluatedProperties")
        self.drop(node, path, "unevaluatedProperties", "no grammar can express it")
        self.counts(node, path, "minProperties", "maxProperties")
        self._property_counts(node, path)

    def _properties(self, node: Node, path: str, depth: int) -> None:
        members = node["properties"]
        if isinstance(members, Mapping) and len(members) <= _MAX_PROPERTIES:
            node["properties"] = self._members(members, f"{path}/properties", depth)
            return
        reason = "it is not an object of schemas"
        if isinstance(members, Mapping):
            reason = f"it has more than {_MAX_PROPERTIES} members"
        self.warn(f"{path}/properties", reason)
        del node["properties"]

    def _members(self, members: Mapping[str, Any], path: str, depth: int) -> Node:
        return {
            name: self.node(child, f"{path}/{name}", depth + 1) for name, child in members.items()
        }

    def _required(self, node: Node, path: str) -> None:
        names = node["required"]
        if not isinstance(names, list):
            self.warn(f"{path}/required", "it is not a list of names")
            del node["required"]
            return
        members = node.get("properties", {})
        kept = [n for n in names if isinstance(n, str) and members.get(n, True) is not False]
        if lost := [name for name in names if name not in kept]:
            self.warn(f"{path}/required", f"{shown(lost[0])} is not the name of a property")
        node["required"] = list(dict.fromkeys(kept))

    def _pattern_properties(self, node: Node, path: str, depth: int) -> None:
        child_path = f"{path}/patternProperties"
        members = node["patternProperties"]
        if not isinstance(members, Mapping):
            self.warn(child_path, "it is not an object of schemas")
            members = {}
        kept = {}
        for pattern, child in members.items():
            if reason := why_no_pattern(pattern):
                self.warn(f"{child_path}/{pattern}", reason)
            else:
                kept[as_rust(pattern)] = self.node(child, f"{child_path}/{pattern}", depth + 1)
        node["patternProperties"] = kept
        if not kept:
            del node["patternProperties"]

    def _property_names(self, node: Node, path: str) -> None:
        """Write `propertyNames` as `properties` or as `patternProperties`."""
        names = self.resolve(node.pop("propertyNames"))
        child_path = f"{path}/propertyNames"
        if names is True or names in ({}, {"type": "string"}):
            return
        reason = "no grammar can express it"
        if not isinstance(names, Mapping) or not _NAME_KEYWORDS.issuperset(
            key for key in names if not key.startswith(("$", "title", "description"))
        ):
            self.warn(child_path, reason)
            return
        allowed = [names["const"]] if "const" in names else names.get("enum")
        if isinstance(allowed, list):
            self._named(node, [name for name in allowed if isinstance(name, str)])
            return
        pattern = names.get("pattern")
        if "minLength" in names or "maxLength" in names:
            if pattern is not None:
                self.warn(
                    f"{child_path}/pattern", "it cannot be combined with the lengths beside it"
                )
            pattern = f"^[\\s\\S]{{{names.get('minLength', 0)},{names.get('maxLength', '')}}}$"
        if "patternProperties" not in node:
            reason = why_no_pattern(pattern)
        if reason or not isinstance(pattern, str):
            self.warn(child_path, reason)
        else:
            self._matched(node, pattern)

    @staticmethod
    def _matched(node: Node, pattern: str) -> None:
        """Allow only properties whose names match."""
        members = node.get("properties", {})
        for name in [name for name in members if not _matches(pattern, name)]:
            members[name] = False
        others = node.get("additionalProperties", False if members else {})
        if others is not False:
            node["patternProperties"] = {as_rust(pattern): others}
        node["additionalProperties"] = False

    @staticmethod
    def _named(node: Node, names: list[str]) -> None:
        """Allow only properties with these names."""
        members = node.setdefault("properties", {})
        others = node.get("additionalProperties", False if members else {})
        for name in members:
            if name not in names:
                members[name] = False
        for name in names:
            if name not in members and others is not False:
                members[name] = others
        node["additionalProperties"] = False

    def _property_counts(self, node: Node, path: str) -> None:
        """Replace counts of properties by the sets of optional properties that they allow."""
        low, high = node.get("minProperties", 0), node.get("maxProperties", MAX_COUNT)
        required = node.get("required", [])
        optional = [
            name
            for name, child in node.get("properties", {}).items()
            if child is not False and name not in required
        ]
        if (low == 0 and high == MAX_COUNT) or not optional:
            return  # llguidance counts the names that are not in `properties`
        for key in ("minProperties", "maxProperties"):
            node.pop(key, None)
        low, high = max(0, low - len(required)), high - len(required)
        is_closed = node.get("additionalProperties") is False and not node.get("patternProperties")
        if not is_closed or low > len(optional) or high < 0:
            self.warn(
                f"{path}/{'minProperties' if low else 'maxProperties'}",
                "it cannot be combined with the properties beside it",
            )
            return
        parts: list[Node] = []
        for name, n, is_needed in (
            ("minProperties", low, low > 0),
            ("maxProperties", high, high < len(optional)),
        ):
            if not is_needed:
                continue
            if comb(len(optional), n) > _MAX_CHOICES:
                self.warn(
                    f"{path}/{name}", f"more than {_MAX_CHOICES} sets of properties satisfy it"
                )
                continue
            sets = combinations(optional, n)
            if name == "minProperties":
                parts.append({"anyOf": [{"required": list(names)} for names in sets]})
            else:
                lost = ([one for one in optional if one not in names] for names in sets)
                parts.append({"anyOf": [{"properties": dict.fromkeys(n, False)} for n in lost]})
        if parts:
            node["allOf"] = [*node.get("allOf", ()), *parts]

    # -- arrays

    def _array(self, node: Node, path: str, depth: int, merges: bool) -> None:
        self._tuple_of_old_drafts(node)
        self.counts(node, path, "minItems", "maxItems")
        if "prefixItems" in node:
            self._tuple(node, path, depth, merges)
        values = _few_values(self.resolve(node.get("items")))
        if "items" in node:
            node["items"] = self.node(node["items"], f"{path}/items", depth + 1)
        if node.get("items") is False:
            self.forget(node, "unevaluatedItems")
        self.drop(node, path, "unevaluatedItems", "no grammar can express it")
        if "uniqueItems" in node:
            self._unique(node, path, values)

    @staticmethod
    def _tuple_of_old_drafts(node: Node) -> None:
        """Write a list in `items`, and additionalItems, as newer drafts do."""
        if isinstance(node.get("items"), list):
            node["prefixItems"] = node.pop("items")
            if "additionalItems" in node:
                node["items"] = node["additionalItems"]
        node.pop("additionalItems", None)

    def _tuple(self, node: Node, path: str, depth: int, merges: bool) -> None:
        items = node["prefixItems"]
        if not isinstance(items, list) or not items:
            self.warn(f"{path}/prefixItems", "it is not a list of schemas")
            del node["prefixItems"]
            return
        fitted = [
            self.node(child, f"{path}/prefixItems/{index}", depth + 1)
            for index, child in enumerate(items)
        ]
        node["prefixItems"] = fitted
        if not merges:
            most = fitted.index(False) if False in fitted else len(fitted)
            node.setdefault("items", False)
            node.setdefault("minItems", min(most, node.get("maxItems", most)))

    def _unique(self, node: Node, path: str, values: list[Any]) -> None:
        """Replace `uniqueItems` by a list of all arrays, if their items have few fixed values."""
        if is_idle("uniqueItems", node["uniqueItems"]) or node.get("maxItems", 2) < 2:
            del node["uniqueItems"]
            return
        most = min(node.get("maxItems", len(values)), len(values))
        lengths = range(node.get("minItems", 0), most + 1)
        reason = "only arrays of few fixed values can be enforced"
        if values and lengths and "prefixItems" not in node:
            if sum(_n_arrays(len(values), n) for n in lengths) <= _MAX_ARRAYS:
                arrays = [list(made) for n in lengths for made in permutations(values, n)]
                for key in ("items", "minItems", "maxItems", "uniqueItems"):
                    node.pop(key, None)
                if types_of(node) == ["array"]:
                    node["enum"] = arrays
                else:
                    node["allOf"] = [
                        *node.get("allOf", ()),
                        {"anyOf": [{"enum": arrays}, {"type": _others("array")}]},
                    ]
                return
            reason = f"its values make more than {_MAX_ARRAYS} arrays"
        self.drop(node, path, "uniqueItems", reason)


def _is_whole(node: Node) -> bool:
    """Return whether the schemas beside `properties` describe no other properties."""
    names = node.get("properties", {})
    parts = [*node.get("allOf", ()), *node.get("anyOf", ()), *node.get("oneOf", ())]
    return "$ref" not in node and all(
        isinstance(part, dict)
        and not {"$ref", "allOf", "anyOf", "oneOf", "patternProperties"} & part.keys()
        and set(part.get("properties", ())) | set(part.get("required", ())) <= set(names)
        for part in parts
    )


def _few_values(schema: Any) -> list[Any]:
    """Return the values that a schema allows, if they are few; else []."""
    if not isinstance(schema, Mapping):
        return []
    if "const" in schema:
        return [schema["const"]]
    if isinstance(schema.get("enum"), list):
        return list({repr(value): value for value in schema["enum"]}.values())
    kinds: dict[Any, list[Any]] = {"boolean": [True, False], "null": [None]}
    return kinds.get(str(schema.get("type")), [])


def _n_arrays(n_values: int, length: int) -> int:
    n = 1
    for i in range(length):
        n = min(n * (n_values - i), _MAX_ARRAYS + 1)
    return n


def _others(kind: str) -> list[str]:
    kinds = ("object", "array", "string", "number", "boolean", "null")
    return [other for other in kinds if other != kind]


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except (re.error, OverflowError, RecursionError):
        return True
