"""KindRelaxer: relaxes schemas of objects, arrays, strings and numbers; pure Python."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Final

from llamabind.schema.keywords import OF_ANY, OF_TYPE, is_idle
from llamabind.schema.nodes import FORMATS, counted, unclear_name
from llamabind.schema.pattern import why_no_grammar
from llamabind.schema.warning import SchemaWarning, shown
from llamabind.schema.workarounds import MAX_INTEGER, limits

Node = dict[str, Any]

_MAX_PROPERTIES: Final = 256
_MAX_REPEATS: Final = 2000
"""A higher count is treated as no limit (MAX_REPETITION_THRESHOLD of src/llama-grammar.cpp)."""
_LOW: Final = ("minimum", "exclusiveMinimum")
_HIGH: Final = ("maximum", "exclusiveMaximum")


class KindRelaxer(ABC):
    """The rules for each type. Methods change the node in place, which is a copy."""

    def __init__(self, *, has_nameless: bool) -> None:
        self.warnings: list[SchemaWarning] = []
        self._has_nameless = has_nameless

    @abstractmethod
    def node(self, value: Any, path: str, depth: int) -> Node:
        """Return a relaxed copy of any node."""

    def is_nameless(self, properties: Mapping[str, Any], depth: int) -> bool:
        """Return whether a top-level property has an empty name, which cannot be converted."""
        return depth == 0 and "" in properties and not self._has_nameless

    def of_kind(self, kind: str, node: Node, path: str, depth: int) -> None:
        """Relax the keywords of a node that apply to one type."""
        match kind:
            case "object":
                self._object(node, path, depth)
            case "array":
                self._array(node, path, depth)
            case "string":
                self._string(node, path)
            case "integer":
                self._integer(node, path)
            case _:
                self._keep(node, path, kind, ())

    def _object(self, node: Node, path: str, depth: int) -> None:
        if "properties" in node:
            self._properties(node, path, depth)
        names = node.get("properties", {})
        if "required" in node:
            self._required(node, names, path)
        if node.get("additionalProperties", False) is not False:
            additional = node["additionalProperties"]
            name = unclear_name(names)
            if name is not None:
                reason = f"additional properties cannot be distinguished from {name!r}"
                self.warn(f"{path}/additionalProperties", reason)
                del node["additionalProperties"]
            elif additional is not True:
                child_path = f"{path}/additionalProperties"
                node["additionalProperties"] = self.node(additional, child_path, depth + 1)
        if "properties" in node and "additionalProperties" not in node:
            # The grammar of such an object allows no other properties anyway.
            _forget(node, "unevaluatedProperties", False)
        if node.get("propertyNames") in ({}, True, {"type": "string"}):
            del node["propertyNames"]  # all names are strings
        self._keep(node, path, "object", ("properties", "required", "additionalProperties"))

    def _properties(self, node: Node, path: str, depth: int) -> None:
        properties = node["properties"]
        if not isinstance(properties, Mapping) or len(properties) > _MAX_PROPERTIES:
            reason = "it is not an object of schemas"
            if isinstance(properties, Mapping):
                reason = f"it has more than {_MAX_PROPERTIES} members"
            self.warn(f"{path}/properties", reason)
            del node["properties"]
            return
        allowed = {name: child for name, child in properties.items() if child is not False}
        if self.is_nameless(allowed, depth):
            self.warn(f"{path}/properties/", "an empty property name is not supported here")
            del allowed[""]
        node["properties"] = self.members(allowed, f"{path}/properties", depth)

    def members(self, members: Mapping[str, Any], path: str, depth: int) -> Node:
        """Relax each schema of an object of schemas."""
        return {
            name: self.node(child, f"{path}/{name}", depth + 1) for name, child in members.items()
        }

    def _required(self, node: Node, names: Iterable[str], path: str) -> None:
        required = node["required"]
        if not isinstance(required, list):
            self.warn(f"{path}/required", "it is not a list of names")
            del node["required"]
            return
        node["required"] = [name for name in required if isinstance(name, str) and name in names]
        if missing := [name for name in required if name not in node["required"]]:
            self.warn(f"{path}/required", f"{shown(missing[0])} is not in properties")

    def _array(self, node: Node, path: str, depth: int) -> None:
        if "items" in node and "prefixItems" in node:
            if node["items"] is not False:
                self.warn(f"{path}/items", "it has no effect beside prefixItems")
            del node["items"]
        if node.get("items", True) is False:
            node |= {"items": {}, "minItems": 0, "maxItems": 0}
        key = "items" if "items" in node else "prefixItems"
        items = node.get(key)
        if isinstance(items, list):
            self._tuple(node, key, path, depth)
        elif key == "prefixItems" and key in node:
            self.warn(f"{path}/{key}", "it is not a list of schemas")
            del node[key]
        elif key in node:
            node[key] = self.node(items, f"{path}/{key}", depth + 1)
        if not isinstance(items, list):
            self._counts(node, path, "minItems", "maxItems")
        self._keep(node, path, "array", (key, "minItems", "maxItems"))

    def _tuple(self, node: Node, key: str, path: str, depth: int) -> None:
        """Relax a list of item schemas: the grammar requires exactly these items."""
        _forget(node, "additionalItems", False)
        _forget(node, "unevaluatedItems", False)
        items = [child for child in node[key] if child is not False]
        if not items:
            self.warn(f"{path}/{key}", "it has no items")
            del node[key]
            return
        node[key] = [
            self.node(child, f"{path}/{key}/{index}", depth + 1)
            for index, child in enumerate(items)
        ]
        self._counts(node, path, "minItems", "maxItems")
        for name, is_met in (
            ("minItems", node.get("minItems", 0) <= len(items)),
            ("maxItems", len(items) <= node.get("maxItems", len(items))),
        ):
            if not is_met:
                self.warn(f"{path}/{name}", f"arrays have exactly the {len(items)} items of {key}")
                del node[name]

    def _string(self, node: Node, path: str) -> None:
        if "pattern" in node:
            pattern = node["pattern"]
            reason = why_no_grammar(pattern) if isinstance(pattern, str) else "it is not a string"
            if not reason:
                self._keep(node, path, "string", ("pattern",), "it has no effect beside pattern")
                return
            self.warn(f"{path}/pattern", reason)
            del node["pattern"]
        if "format" in node:
            if isinstance(node["format"], str) and node["format"] in FORMATS:
                self._keep(node, path, "string", ("format",), "it has no effect beside format")
                return
            self.warn(f"{path}/format", f"a grammar cannot express {shown(node['format'])}")
            del node["format"]
        self._counts(node, path, "minLength", "maxLength")
        self._keep(node, path, "string", ("minLength", "maxLength"))

    def _integer(self, node: Node, path: str) -> None:
        for pair in (_LOW, _HIGH):
            for key in pair:
                if key in node and not _is_bound(node[key]):
                    reason = f"{shown(node[key])} is not a number from -(2^53 - 1) to 2^53 - 1"
                    self.warn(f"{path}/{key}", reason)
                    del node[key]
            if pair[0] in node and pair[1] in node:
                self.warn(f"{path}/{pair[1]}", f"it has no effect beside {pair[0]}")
                del node[pair[1]]
        low, high = limits(node)
        if low is not None and high is not None and low > high:
            self.drop(node, path, frozenset({*_LOW, *_HIGH}), "no integer is within the bounds")
        honoured = (*_LOW, *_HIGH, *(("multipleOf",) if node.get("multipleOf") == 1 else ()))
        self._keep(node, path, "number", honoured)

    def _counts(self, node: Node, path: str, low: str, high: str) -> None:
        for key in (low, high):
            if key not in node:
                continue
            value = counted(node, key)
            if value is None:
                reason = f"{shown(node[key])} is not a count"
            elif value > _MAX_REPEATS:
                reason = f"{value} is above {_MAX_REPEATS}, the most that a grammar can count"
            else:
                continue
            self.warn(f"{path}/{key}", reason)
            del node[key]
        if node.get(low, 0) > node.get(high, _MAX_REPEATS):
            self.drop(node, path, frozenset({low, high}), f"{low} is above {high}")

    # -- dropping

    def _keep(
        self,
        node: Node,
        path: str,
        kind: str,
        honoured: tuple[str, ...],
        reason: str = "a grammar cannot express it",
    ) -> None:
        """Drop keywords that constrain values of a type, except `honoured` ones."""
        self.drop(node, path, (OF_TYPE[kind] | OF_ANY).difference(honoured), reason)

    def drop(self, node: Node, path: str, keywords: frozenset[str], reason: str) -> None:
        """Remove keywords from a node, with a warning for those that constrain."""
        for key in [key for key in node if key in keywords]:
            if not is_idle(key, node[key]):
                self.warn(f"{path}/{key}", reason)
            del node[key]

    def warn(self, path: str, reason: str) -> None:
        """Record that the keyword at `path`, or a part of it, is dropped."""
        self.warnings.append(SchemaWarning(path, reason))


def _is_bound(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and -MAX_INTEGER <= value <= MAX_INTEGER


def _forget(node: Node, key: str, value: object) -> None:
    if node.get(key) is value:
        del node[key]
