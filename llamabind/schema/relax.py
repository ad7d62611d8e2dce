"""relaxed: a JSON schema without what llama.cpp's grammars cannot express; pure Python.

It walks a schema as common/json-schema.cpp does: each node becomes a value of one kind, and only
the keywords of that kind have an effect. The result allows everything that the schema allows, and
as little else as a grammar can express.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from llamabind.errors import InvalidParameterError
from llamabind.schema.alternatives import may_overlap, type_of
from llamabind.schema.keywords import ALL, OF_ANY, OF_TYPE, is_idle
from llamabind.schema.nodes import Resolver, implied_type, is_of_types, types_of
from llamabind.schema.relax_kinds import KindRelaxer, Node
from llamabind.schema.warning import SchemaWarning, shown

_MAX_DEPTH: Final = 100
_MAX_NODES: Final = 20_000
_MAX_PASSES: Final = 8
_REPETITIONS: Final = ("pattern", "minLength", "maxLength", "minItems", "maxItems")
# The converter also checks the values of unknown keywords, except of these.
_ANNOTATIONS: Final = frozenset({"default", "examples", "enum", "const"})
_DEFINITIONS: Final = ("$defs", "definitions")


def relaxed(
    schema: Mapping[str, Any], where: str, *, is_whole: bool = False
) -> tuple[Node, tuple[SchemaWarning, ...]]:
    """Return a copy without the keywords that a grammar cannot express, and a warning for each.

    `where` is the path of the schema itself. With `is_whole` it is the schema of a whole answer,
    for which `completed` also handles a property with an empty name.
    """
    warnings: dict[str, SchemaWarning] = {}
    result: Node = dict(schema)
    try:
        for _ in range(_MAX_PASSES):
            # A removed keyword may have been the target of a $ref: repeat until nothing changes.
            relaxer = _Relaxer(result, has_nameless=is_whole)
            before, result = result, relaxer.whole(where)
            for warning in relaxer.warnings:
                warnings.setdefault(warning.path, warning)
            if result == before:
                return result, tuple(warnings.values())
        reason = "its references depend on each other too deeply"
    except _TooLargeError:
        reason = f"it has more than {_MAX_NODES} parts"
    return without_schema(schema), (SchemaWarning(where, reason),)


def strictly_relaxed(schema: Mapping[str, Any], where: str, *, is_whole: bool = False) -> Node:
    """Return what `relaxed` does; InvalidParameterError instead of the first warning."""
    result, warnings = relaxed(schema, where, is_whole=is_whole)
    if warnings:
        raise InvalidParameterError(warnings[0].path, warnings[0].reason)
    return result


def without_repetitions(schema: Mapping[str, Any]) -> Node:
    """Return a relaxed schema without patterns, lengths and counts, which make grammars large."""
    result: Node = _without_repetitions(schema)
    return result


def without_schema(schema: Mapping[str, Any]) -> Node:
    """Return a schema with only the top-level type, "object" if the schema does not name one."""
    kind = schema.get("type")
    return {"type": kind if isinstance(kind, str) and kind in OF_TYPE else "object"}


class _TooLargeError(Exception):
    pass


class _Relaxer(KindRelaxer):
    """One pass over a schema."""

    def __init__(self, root: Mapping[str, Any], *, has_nameless: bool) -> None:
        super().__init__(has_nameless=has_nameless)
        self._root = root
        self._resolver = Resolver(root)
        self._n_nodes = 0

    def whole(self, where: str) -> Node:
        """Return the whole schema, relaxed, including its definitions."""
        return self.node(self._root, where, 0)

    # -- any node

    def node(self, value: Any, path: str, depth: int) -> Node:
        if value is True:
            return {}
        if not isinstance(value, Mapping):
            self.warn(path, f"{shown(value)} is not a schema")
            return {}
        if depth > _MAX_DEPTH:
            self.warn(path, f"it is nested deeper than {_MAX_DEPTH} levels")
            return {}
        self._n_nodes += 1
        if self._n_nodes > _MAX_NODES:
            raise _TooLargeError
        node = {key: item for key, item in value.items() if _is_plain(key, item)}
        for key in _DEFINITIONS:
            if isinstance(node.get(key), Mapping):
                node[key] = self.members(node[key], f"{path}/{key}", depth)
            else:
                node.pop(key, None)
        self._type(node, path)
        # In the converter's order of precedence.
        if not (
            self._reference(node, path)
            or self._alternatives(node, path, depth)
            or self._values(node, path)
            or self._all_of(node, path, depth)
        ):
            self._typed(node, path, depth)
        return node

    def _typed(self, node: Node, path: str, depth: int) -> None:
        implied = implied_type(node)
        kinds = types_of(node) or ([implied] if implied else [])
        if not kinds:
            self.drop(node, path, ALL, "it has no effect without a type")
        for kind in kinds:
            self.of_kind(kind, node, path, depth)
        # Keywords of other types have no effect in JSON schema either, so they need no warning.
        of_kinds = OF_ANY.union(*(OF_TYPE["number" if k == "integer" else k] for k in kinds))
        for key in ALL.difference(of_kinds).intersection(node):
            del node[key]

    def _type(self, node: Node, path: str) -> None:
        if "type" not in node:
            return
        kind = node["type"]
        known = [name for name in (kind if isinstance(kind, list) else [kind]) if _is_type(name)]
        if known and kind in (known, known[0]):
            if len(set(known)) < len(known):
                node["type"] = list(dict.fromkeys(known))
            return
        self.warn(f"{path}/type", f"{shown(kind)} is not a JSON type")
        del node["type"]
        if known:
            node["type"] = list(dict.fromkeys(known))

    def _reference(self, node: Node, path: str) -> bool:
        """Return whether the node is still a reference afterwards."""
        if "$ref" not in node:
            return False
        ref = node["$ref"]
        reason = self._resolver.why_not_followed(ref)
        if reason:
            self.warn(f"{path}/$ref", reason)
            del node["$ref"]
            if ref == "#" and "type" not in node and _is_type(self._root.get("type")):
                node["type"] = self._root["type"]
            return False
        self.drop(node, path, ALL - {"$ref"}, "it has no effect beside $ref")
        self._check_type_beside(node, "$ref", [node], path)
        return True

    def _check_type_beside(self, node: Node, key: str, children: Iterable[Any], path: str) -> None:
        kinds = types_of(node)
        for child in children if kinds else ():
            target = self._resolver.resolve(child)
            kind = type_of(target) if isinstance(target, Mapping) else None
            if not is_of_types(kind, kinds):
                self.warn(f"{path}/type", f"it has no effect beside {key}")
                del node["type"]
                return

    # -- alternatives

    def _alternatives(self, node: Node, path: str, depth: int) -> bool:
        """Return whether the node still is a choice of alternatives afterwards."""
        for key in ("oneOf", "anyOf"):
            if key not in node:
                continue
            children = node[key]
            if not isinstance(children, list) or not any(child is not False for child in children):
                self.warn(f"{path}/{key}", "it is not a list of schemas")
                del node[key]
                continue
            if self._constrains_more(node, key, children):
                self.warn(f"{path}/{key}", "it cannot be combined with the keywords beside it")
                del node[key]
                continue
            self._choice(node, key, path, depth)
            return True
        return False

    def _constrains_more(self, node: Node, key: str, children: list[Any]) -> bool:
        """Return whether to keep the keywords beside alternatives and drop the alternatives.

        They constrain more if an alternative names no type.
        """
        others = ALL - {key, "oneOf", "anyOf", "$ref"}
        if not any(name in others and not is_idle(name, node[name]) for name in node):
            return False
        targets = [self._resolver.resolve(child) for child in children]
        return not all(isinstance(target, Mapping) and _has_kind(target) for target in targets)

    def _choice(self, node: Node, key: str, path: str, depth: int) -> None:
        self.drop(node, path, ALL - {key}, f"it has no effect beside {key}")
        kind = node.get("type")
        children = []
        for index, child in enumerate(node[key]):
            if child is False:
                continue
            if isinstance(child, Mapping) and kind is not None and not _has_kind(child):
                child = {"type": kind, **child}  # a type beside alternatives applies to each
            children.append(self.node(child, f"{path}/{key}/{index}", depth + 1))
        node[key] = children
        self._check_type_beside(node, key, children, path)
        if key == "oneOf" and may_overlap(children, self._resolver.resolve):
            self.warn(
                f"{path}/oneOf", "more than one alternative can match; it is treated as anyOf"
            )
            node["anyOf"] = node.pop("oneOf")

    # -- fixed values

    def _values(self, node: Node, path: str) -> bool:
        """Return whether the node still is a choice of values afterwards."""
        kinds = types_of(node)
        if "enum" in node:
            values = node["enum"]
            if not isinstance(values, list) or not values:
                self.warn(f"{path}/enum", f"{shown(values)} is not a list of values")
                del node["enum"]
            else:
                fitting = [value for value in values if _fits(value, kinds)]
                if fitting:
                    node["enum"] = fitting
                else:
                    self.warn(f"{path}/enum", "none of its values has the given type")
                    del node["enum"]
        if "const" in node:
            if not _fits(node["const"], kinds):
                self.warn(f"{path}/type", "const is of another type")
                del node["type"]
            if node["const"] not in node.get("enum", [node["const"]]):
                self.warn(f"{path}/enum", "const is not one of its values")
                del node["enum"]
        key = "const" if "const" in node else "enum"
        if key not in node:
            return False
        self.drop(node, path, ALL - {"const", "enum"}, f"it has no effect beside {key}")
        return True

    # -- allOf

    def _all_of(self, node: Node, path: str, depth: int) -> bool:
        """Return whether the node still is an allOf afterwards, or became its only part."""
        if "allOf" not in node:
            return False
        parts = node["allOf"]
        if not isinstance(parts, list) or not parts:
            self.warn(f"{path}/allOf", "it is not a list of schemas")
            del node["allOf"]
            return False
        others = [key for key in node if key in ALL - {"allOf"} and not is_idle(key, node[key])]
        if len(parts) == 1 and not others and isinstance(parts[0], Mapping):
            part = dict(parts[0])
            if "type" in node and not _has_kind(part):
                part["type"] = node["type"]
            del node["allOf"]
            node.pop("type", None)
            node.update(self.node(part, f"{path}/allOf/0", depth + 1))
            return True
        if others or types_of(node) not in ([], ["object"]):
            self.warn(f"{path}/allOf", "it cannot be combined with the keywords beside it")
            del node["allOf"]
            return False
        node["allOf"] = self._merged(parts, path, depth)
        if not node["allOf"]:
            del node["allOf"]
            return False
        self.drop(node, path, ALL - {"allOf"}, "it has no effect beside allOf")
        return True

    def _merged(self, parts: list[Any], path: str, depth: int) -> list[Node]:
        """Return the parts that describe different properties of one object; drop the others."""
        names: set[str] = set()
        kept = []
        for index, value in enumerate(parts):
            part_path = f"{path}/allOf/{index}"
            child = self.node(value, part_path, depth + 1)
            if "$ref" not in child and not is_idle(
                "additionalProperties", child.get("additionalProperties", True)
            ):
                self.warn(f"{part_path}/additionalProperties", "it has no effect within allOf")
                del child["additionalProperties"]
            part = self._resolver.resolve(child)
            own = part.get("properties", {}) if isinstance(part, Mapping) else {}
            if not _can_be_merged(part) or names & set(own) or self.is_nameless(own, depth):
                self.warn(part_path, "only objects with different properties can be merged")
                continue
            names |= set(own)
            kept.append(child)
        return kept


def _is_plain(key: str, value: Any) -> bool:
    """Return whether the converter knows a keyword, or its value is a scalar, which it ignores."""
    is_known = key in ALL or key in _ANNOTATIONS or key in _DEFINITIONS or key == "type"
    return is_known or not isinstance(value, dict | list)


def _is_type(name: Any) -> bool:
    return isinstance(name, str) and (name in OF_TYPE or name == "integer")


def _has_kind(schema: Mapping[str, Any]) -> bool:
    """Return whether an alternative itself determines the kind of its value."""
    return any(key in schema for key in ("type", "$ref", "const", "enum", "anyOf", "oneOf"))


def _fits(value: Any, kinds: list[str]) -> bool:
    return not kinds or is_of_types(type_of({"const": value}), kinds)


def _can_be_merged(part: Any) -> bool:
    return (
        isinstance(part, Mapping)
        and type_of(part) == "object"
        and "allOf" not in part
        and is_idle("additionalProperties", part.get("additionalProperties", True))
    )


def _without_repetitions(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_repetitions(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    result: Node = {}
    for key, item in value.items():
        if key in _ANNOTATIONS:
            result[key] = item
        elif key in ("properties", *_DEFINITIONS) and isinstance(item, Mapping):
            result[key] = {name: _without_repetitions(child) for name, child in item.items()}
        elif key not in _REPETITIONS:
            result[key] = _without_repetitions(item)
    return result
