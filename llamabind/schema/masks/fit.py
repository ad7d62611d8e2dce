"""fitted: a JSON schema as llguidance takes it, without the keywords that it cannot enforce.

The result allows nothing that the schema forbids, except for the keywords with a warning. It may
allow less: an object has no properties besides its `properties`, unless `additionalProperties`
describes them, and an array with a list of item schemas has all of these items.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from llamabind.schema.alternatives import may_overlap, type_of
from llamabind.schema.keywords import ALL, OF_TYPE, is_idle
from llamabind.schema.masks.fit_kinds import KindFitter
from llamabind.schema.nodes import implied_type, is_of_types, types_of
from llamabind.schema.pointer import follow
from llamabind.schema.warning import SchemaWarning, shown

if TYPE_CHECKING:
    from llamabind.schema.masks.fit_scalars import Node

MAX_DEPTH: Final = 100
_MAX_NODES: Final = 20_000
_MAX_REF_CHAIN: Final = 32
_DEPTH_OF_DEFINITION: Final = 16
"""Deeper nodes become definitions: llguidance reads JSON of at most 128 levels."""

_KEPT: Final = ALL | {"type", "not", "then", "else"}
_UNENFORCED: Final = (
    "$dynamicRef",
    "$recursiveRef",
    "if",
    "not",
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
)
_CHOICES: Final = ("anyOf", "oneOf")


class TooLargeError(Exception):
    """The schema has too many parts: fitting it would block its thread for too long."""


def fitted(schema: Mapping[str, Any], where: str) -> tuple[Node, tuple[SchemaWarning, ...]]:
    """Return a schema for llguidance, and a warning for each keyword that is not in it.

    `where` is the path of the schema itself, with which the paths in warnings begin.
    """
    fitter = _Fitter(schema, where)
    try:
        result = fitter.whole()
    except TooLargeError:
        reason = f"it has more than {_MAX_NODES} parts"
        return only_type(schema), (SchemaWarning(where, reason),)
    return result, tuple(fitter.warnings)


def only_type(schema: Mapping[str, Any]) -> Node:
    """Return a schema with only the top-level type, "object" if the schema does not name one."""
    kind = schema.get("type")
    known = isinstance(kind, str) and (kind in OF_TYPE or kind == "integer")
    return {"type": kind if known else "object"}


class _Fitter(KindFitter):
    def __init__(self, root: Mapping[str, Any], where: str) -> None:
        super().__init__()
        self._root = root
        self._where = where
        self._names: dict[tuple[str, bool], str] = {}
        self._pending: deque[tuple[str, Any, str, bool]] = deque()
        self._definitions: dict[str, Any] = {}
        self._n_nodes = 0
        self._n_names = 0

    def whole(self) -> Node:
        root = self.node(self._root, self._where, 0)
        while self._pending:
            name, target, path, merges = self._pending.popleft()
            self._definitions[name] = self.node(target, path, 1, merges=merges)
        if root is False:
            self.warn(self._where, "it allows no value")
        if not isinstance(root, dict) or not root:
            root = {"type": "object"}
        return root | ({"$defs": self._definitions} if self._definitions else {})

    # -- any node

    def node(self, value: Any, path: str, depth: int, *, merges: bool = False) -> Any:
        if value is True or value is False:
            return value and {}
        if not isinstance(value, Mapping):
            self.warn(path, f"{shown(value)} is not a schema")
            return {}
        if depth > MAX_DEPTH:
            self.warn(path, f"it is nested deeper than {MAX_DEPTH} levels")
            return {}
        self._n_nodes += 1
        if self._n_nodes > _MAX_NODES:
            raise TooLargeError
        if depth and depth % _DEPTH_OF_DEFINITION == 0:
            name = self._new_name()
            self._definitions[name] = self._node(value, path, depth, merges)
            return {"$ref": f"#/$defs/{name}"}
        return self._node(value, path, depth, merges)

    def _node(self, value: Mapping[str, Any], path: str, depth: int, merges: bool) -> Any:
        node = {key: item for key, item in value.items() if key in _KEPT}
        if node.get("not") in ({}, True):
            return False  # how zod writes a property that must be absent
        self._drop_unenforced(node, path)
        self._type(node, path)
        self._reference(node, path, merges)
        self._choices(node, path, depth, merges)
        self._all_of(node, path, depth, merges)
        self._values(node, path)
        if "type" not in node and not merges and (implied := _implied_type(node)):
            node["type"] = implied
        self._kinds(node, path, depth, merges)
        return node

    def _drop_unenforced(self, node: Node, path: str) -> None:
        branches = [node.pop(key) for key in ("then", "else") if key in node]
        if not branches:
            node.pop("if", None)  # without branches it decides nothing
        for key in _UNENFORCED:
            self.drop(node, path, key, "no grammar can express it")

    def _type(self, node: Node, path: str) -> None:
        if "type" not in node:
            return
        kind = node["type"]
        known = [name for name in (kind if isinstance(kind, list) else [kind]) if _is_type(name)]
        if kind != known and [kind] != known:
            self.warn(f"{path}/type", f"{shown(kind)} is not a JSON type")
        del node["type"]
        if known:
            node["type"] = known[0] if len(known) == 1 else list(dict.fromkeys(known))

    def _kinds(self, node: Node, path: str, depth: int, merges: bool) -> None:
        kinds = {"number" if kind == "integer" else kind for kind in types_of(node)}
        for kind, keywords in OF_TYPE.items():
            if kinds and kind not in kinds:
                # Keywords of other types have no effect in JSON schema either.
                for key in keywords & node.keys():
                    del node[key]
            elif keywords & node.keys() or kinds:
                self.of_kind(kind, node, path, depth, merges=merges)

    # -- references

    def resolve(self, node: Any) -> Any:
        for _ in range(_MAX_REF_CHAIN):
            if not isinstance(node, Mapping) or "$ref" not in node:
                return node
            node = follow(self._root, node["$ref"])
        return None

    def _reference(self, node: Node, path: str, merges: bool) -> None:
        if "$ref" not in node:
            return
        ref = node["$ref"]
        target = follow(self._root, ref)
        if not isinstance(target, Mapping | bool) or self.resolve(node) is None:
            is_local = isinstance(ref, str) and ref.startswith("#")
            reason = "points to nothing" if is_local else "does not point into the schema"
            self.warn(f"{path}/$ref", f"{shown(ref)} {reason}")
            del node["$ref"]
            return
        merges = merges or any(
            key in ALL and not is_idle(key, node[key]) for key in node if key != "$ref"
        )
        key = (ref, merges)
        if key not in self._names:
            self._names[key] = self._new_name()
            self._pending.append(
                (self._names[key], target, f"{self._where}/{ref[1:].strip('/')}", merges)
            )
        node["$ref"] = f"#/$defs/{self._names[key]}"

    def _new_name(self) -> str:
        self._n_names += 1
        return f"d{self._n_names}"

    # -- alternatives

    def _choices(self, node: Node, path: str, depth: int, merges: bool) -> None:
        for key in _CHOICES:
            if key not in node:
                continue
            children = node[key]
            if not isinstance(children, list) or not children:
                self.warn(f"{path}/{key}", "it is not a list of schemas")
                del node[key]
                continue
            if key == "oneOf" and may_overlap(children, self.resolve):
                self.warn(
                    f"{path}/oneOf", "more than one alternative can match; it is treated as anyOf"
                )
            beside = merges or self._is_beside(node, key)
            node[key] = [
                self.node(child, f"{path}/{key}/{index}", depth + 1, merges=beside)
                for index, child in enumerate(children)
            ]
        if "oneOf" in node and "anyOf" not in node:
            # They exclude each other, or there was a warning.
            node["anyOf"] = node.pop("oneOf")
        elif "oneOf" in node:
            node["allOf"] = [*_list(node.get("allOf")), {"anyOf": node.pop("oneOf")}]

    def _is_beside(self, node: Node, key: str) -> bool:
        """Return whether other keywords of a node constrain the same value."""
        return any(name in ALL and name != key and not is_idle(name, node[name]) for name in node)

    def _all_of(self, node: Node, path: str, depth: int, merges: bool) -> None:
        if "allOf" not in node:
            return
        parts = node["allOf"]
        if not isinstance(parts, list) or not parts:
            self.warn(f"{path}/allOf", "it is not a list of schemas")
            del node["allOf"]
            return
        is_alone = len(parts) == 1 and not self._is_beside(node, "allOf")
        closing = None if merges or is_alone else self._closing(node, parts)
        node["allOf"] = [
            self.node(part, f"{path}/allOf/{index}", depth + 1, merges=merges or not is_alone)
            for index, part in enumerate(parts)
        ]
        if closing is not None:
            node["allOf"].append(closing)
            self.forget(node, "unevaluatedProperties")
            self.forget(node, "additionalProperties")

    def _closing(self, node: Node, parts: list[Any]) -> Node | None:
        """Return a part that allows only properties of the parts; None if these may have others."""
        names: dict[str, Any] = {}
        for part in (node, *map(self.resolve, parts)):
            others = ("patternProperties", "additionalProperties", "anyOf", "oneOf", "$ref")
            if not isinstance(part, Mapping) or any(key in part for key in others):
                return None
            if part is not node and ("allOf" in part or type_of(part) != "object"):
                return None
            if isinstance(part.get("properties"), Mapping):
                names |= {name: {} for name in part["properties"]}
        return {"properties": names, "additionalProperties": False} if names else None

    # -- fixed values

    def _values(self, node: Node, path: str) -> None:
        kinds = types_of(node)
        if "enum" in node:
            values = node["enum"]
            fitting = [v for v in values if _fits(v, kinds)] if isinstance(values, list) else []
            if fitting:
                node["enum"] = fitting
            else:
                reason = "none of its values has the given type"
                if not isinstance(values, list) or not values:
                    reason = f"{shown(values)} is not a list of values"
                self.warn(f"{path}/enum", reason)
                del node["enum"]
        if "const" in node and not _fits(node["const"], kinds):
            self.warn(f"{path}/type", "const is of another type")
            del node["type"]
        if "const" in node and node["const"] not in node.get("enum", [node["const"]]):
            self.warn(f"{path}/enum", "const is not one of its values")
            del node["enum"]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_type(name: Any) -> bool:
    return isinstance(name, str) and (name in OF_TYPE or name == "integer")


def _fits(value: Any, kinds: list[str]) -> bool:
    return not kinds or is_of_types(type_of({"const": value}), kinds)


def _implied_type(node: Node) -> str | None:
    if any(key in node for key in ("$ref", "enum", "const", "anyOf", "allOf")):
        return None
    if (kind := implied_type(node)) is not None:
        return kind
    used = [kind for kind, keywords in OF_TYPE.items() if keywords & node.keys()]
    return used[0] if len(used) == 1 else None
