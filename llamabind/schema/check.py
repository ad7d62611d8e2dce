"""check_schema: refuses a JSON schema with a keyword that llama.cpp would silently ignore.

It walks a schema as common/json-schema.cpp does: each node becomes a value of one kind, and only
the keywords of that kind have an effect. Any other keyword that constrains the value is an error,
so the grammar of an accepted schema allows nothing that the schema forbids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from llamabind.errors import InvalidParameterError
from llamabind.schema.alternatives import may_overlap, type_of
from llamabind.schema.keywords import ALL, OF_ANY, OF_TYPE, is_idle
from llamabind.schema.nodes import (
    FORMATS,
    Resolver,
    Schema,
    implied_type,
    is_of_types,
    types_of,
    unclear_name,
)
from llamabind.schema.pattern import why_not_honoured
from llamabind.schema.workarounds import is_open_wrongly, limits

MAX_REPEATS: Final = 2000
"""A higher count is treated as no limit (MAX_REPETITION_THRESHOLD of src/llama-grammar.cpp)."""

MAX_DEPTH: Final = 100


def check_schema(schema: Schema, where: str = "json_schema") -> None:
    """Raise InvalidParameterError, whose field is the path of the keyword that cannot be enforced.

    Invalid schemas are mostly left to the converter, which refuses them.
    """
    try:
        _Checker(schema).check(schema, where, 0)
    except InvalidParameterError:
        raise
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise InvalidParameterError(where, f"is not a valid JSON schema: {error}") from error


class _Checker:
    def __init__(self, root: Schema) -> None:
        self._resolver = Resolver(root)
        self._seen: set[int] = set()
        self._kinds: dict[str, Callable[[Schema, str, int], None]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": lambda node, path, _: _only(node, path, "number", ()),
            "boolean": lambda node, path, _: _only(node, path, "boolean", ()),
            "null": lambda node, path, _: _only(node, path, "null", ()),
        }

    def check(self, node: Any, path: str, depth: int) -> None:
        """Check a node and the nodes inside it."""
        if not isinstance(node, Mapping) or id(node) in self._seen:
            return
        if depth > MAX_DEPTH:
            raise InvalidParameterError(path, f"is nested deeper than {MAX_DEPTH} levels")
        self._seen.add(id(node))
        if "$ref" in node:
            _refuse_all(node, path, ALL - {"$ref"}, "has no effect beside $ref")
            self._check_type_beside(node, "$ref", [node], path)
            self._check_reference(node["$ref"], path)
            self.check(self._resolver.resolve(node), f"{path}/$ref", depth + 1)
        elif "oneOf" in node or "anyOf" in node:
            self._alternatives(node, path, depth)
        elif "const" in node or "enum" in node:
            _check_values(node, path)
        else:
            self._typed(node, path, depth)

    def _check_reference(self, ref: Any, path: str) -> None:
        if isinstance(ref, str) and (reason := self._resolver.why_misread(ref)):
            raise InvalidParameterError(f"{path}/$ref", reason)

    def _alternatives(self, node: Schema, path: str, depth: int) -> None:
        key = "oneOf" if "oneOf" in node else "anyOf"
        _refuse_all(node, path, ALL - {key}, f"has no effect beside {key}")
        self._check_type_beside(node, key, list(node[key]), path)
        for index, child in _children(node[key]):
            self.check(child, f"{path}/{key}/{index}", depth + 1)
        if key == "oneOf" and may_overlap(list(node[key]), self._resolver.resolve):
            raise InvalidParameterError(
                f"{path}/oneOf", "two alternatives can match the same value: use anyOf"
            )

    def _check_type_beside(self, node: Schema, key: str, children: list[Any], path: str) -> None:
        """The converter ignores a type beside alternatives, so each alternative must imply it."""
        kinds = types_of(node)
        for child in children if kinds else ():
            target = self._resolver.resolve(child)
            kind = type_of(target) if isinstance(target, Mapping) else None
            if not is_of_types(kind, kinds):
                raise InvalidParameterError(f"{path}/type", f"has no effect beside {key}")

    def _typed(self, node: Schema, path: str, depth: int) -> None:
        kinds = node.get("type")
        if isinstance(kinds, list):
            for kind in kinds:
                self._of_kind(str(kind), node, path, depth)
        elif isinstance(kinds, str):
            self._of_kind(kinds, node, path, depth)
        elif (implied := implied_type(node)) is not None:
            self._of_kind(implied, node, path, depth)
        elif "allOf" in node:
            self._all_of(node, path, depth)
        else:
            _refuse_all(node, path, ALL, "has no effect without a type")

    def _of_kind(self, kind: str, node: Schema, path: str, depth: int) -> None:
        if kind == "object" and "allOf" in node:
            self._all_of(node, path, depth)
        elif kind in self._kinds:
            self._kinds[kind](node, path, depth)

    def _object(self, node: Schema, path: str, depth: int) -> None:
        _only(node, path, "object", ("properties", "required", "additionalProperties"))
        properties = node.get("properties", {})
        if depth == 0:
            _refuse_empty_name(properties, path)
        for name in node.get("required", ()):
            if name not in properties:
                raise InvalidParameterError(f"{path}/required", f"{name!r} is not in properties")
        for name, child in _members(properties):
            self.check(child, f"{path}/properties/{name}", depth + 1)
        additional = node.get("additionalProperties")
        if additional is not None and additional is not False:
            _check_names(properties, f"{path}/properties")
        self.check(additional, f"{path}/additionalProperties", depth + 1)

    def _array(self, node: Schema, path: str, depth: int) -> None:
        key = "items" if "items" in node else "prefixItems"
        items = node.get(key)
        _only(node, path, "array", (key, "minItems", "maxItems"))
        if not isinstance(items, list):
            _check_counts(node, path, "minItems", "maxItems")
            self.check(items, f"{path}/{key}", depth + 1)
            return
        if not node.get("minItems", 0) <= len(items) <= node.get("maxItems", len(items)):
            raise InvalidParameterError(
                f"{path}/{key}",
                f"allows exactly {len(items)} items, which minItems or maxItems forbids",
            )
        for index, child in enumerate(items):
            self.check(child, f"{path}/{key}/{index}", depth + 1)

    def _string(self, node: Schema, path: str, _depth: int) -> None:
        if "pattern" in node:
            _only(node, path, "string", ("pattern",), "has no effect beside pattern")
            reason = why_not_honoured(str(node["pattern"]))
            if reason:
                raise InvalidParameterError(f"{path}/pattern", reason)
        elif "format" in node:
            _only(node, path, "string", ("format",), "has no effect beside format")
            if node["format"] not in FORMATS:
                raise InvalidParameterError(
                    f"{path}/format",
                    f"{node['format']!r} cannot be enforced; use date, time, date-time or uuid",
                )
        else:
            _only(node, path, "string", ("minLength", "maxLength"))
            _check_counts(node, path, "minLength", "maxLength")

    def _integer(self, node: Schema, path: str, _depth: int) -> None:
        bounds = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        _only(node, path, "number", (*bounds, *(("multipleOf",) if _is_one(node) else ())))
        for inclusive, exclusive in (bounds[::2], bounds[1::2]):
            if inclusive in node and exclusive in node:
                raise InvalidParameterError(
                    f"{path}/{exclusive}", f"has no effect beside {inclusive}"
                )
        low, high = limits(node)
        if low is not None and high is not None and low > high:
            raise InvalidParameterError(
                f"{path}/{_key_of_low(node)}", "is above the highest integer allowed"
            )
        if is_open_wrongly(low, high):
            key = _key_of_low(node) if high is None else _key_of_high(node)
            raise InvalidParameterError(f"{path}/{key}", "needs both a minimum and a maximum")

    def _all_of(self, node: Schema, path: str, depth: int) -> None:
        """llama.cpp merges the properties of objects and ignores everything else in allOf."""
        _refuse_all(node, path, ALL - {"allOf"}, "has no effect beside allOf")
        names: set[str] = set()
        for index, child in _children(node["allOf"]):
            part_path = f"{path}/allOf/{index}"
            self.check(child, part_path, depth + 1)
            part = self._resolver.resolve(child)
            if not isinstance(part, Mapping) or type_of(part) != "object" or "allOf" in part:
                raise InvalidParameterError(part_path, "only objects with properties can be merged")
            if not is_idle("additionalProperties", part.get("additionalProperties", True)):
                raise InvalidParameterError(
                    f"{part_path}/additionalProperties", "has no effect within allOf"
                )
            if depth == 0:
                _refuse_empty_name(part.get("properties", {}), part_path)
            if shared := names & set(part.get("properties", {})):
                raise InvalidParameterError(part_path, f"repeats property {min(shared)!r}")
            names |= set(part.get("properties", {}))


def _only(
    node: Schema,
    path: str,
    kind: str,
    honoured: tuple[str, ...],
    reason: str = "is a constraint that cannot be enforced",
) -> None:
    """Refuse keywords that constrain values of a type, except `honoured` ones."""
    _refuse_all(node, path, (OF_TYPE[kind] | OF_ANY).difference(honoured), reason)


def _refuse_all(node: Schema, path: str, keywords: frozenset[str], reason: str) -> None:
    for key in node:
        if key in keywords and not is_idle(key, node[key]):
            raise InvalidParameterError(f"{path}/{key}", reason)


def _is_one(node: Schema) -> bool:
    return node.get("multipleOf") == 1


def _check_values(node: Schema, path: str) -> None:
    """The grammar allows the fixed values whatever the other keywords say."""
    key = "const" if "const" in node else "enum"
    _refuse_all(node, path, ALL - {"const", "enum"}, f"has no effect beside {key}")
    values = [node["const"]] if key == "const" else node["enum"]
    kinds = types_of(node)
    for value in values if isinstance(values, list) else ():
        if kinds and not is_of_types(type_of({"const": value}), kinds):
            raise InvalidParameterError(f"{path}/{key}", f"{value!r} is not of the given type")
        if key == "const" and value not in node.get("enum", [value]):
            raise InvalidParameterError(f"{path}/const", f"{value!r} is not in enum")


def _check_counts(node: Schema, path: str, *keys: str) -> None:
    for key in keys:
        value = node.get(key)
        if isinstance(value, int) and value > MAX_REPEATS:
            raise InvalidParameterError(
                f"{path}/{key}", f"is above {MAX_REPEATS}, the most that a grammar can count"
            )


def _key_of_low(node: Schema) -> str:
    return "minimum" if "minimum" in node else "exclusiveMinimum"


def _key_of_high(node: Schema) -> str:
    return "maximum" if "maximum" in node else "exclusiveMaximum"


def _refuse_empty_name(properties: Any, path: str) -> None:
    """At the top level such a property's rule would be named "root", like the schema's own rule."""
    if "" in properties:
        raise InvalidParameterError(
            f"{path}/properties/", "an empty property name is not supported here"
        )


def _check_names(properties: Any, path: str) -> None:
    name = unclear_name(properties)
    if name is not None:
        raise InvalidParameterError(
            f"{path}/{name}",
            "cannot be distinguished from additional properties; set those to false",
        )


def _children(children: Any) -> Iterator[tuple[int, Any]]:
    return enumerate(children if isinstance(children, list) else ())


def _members(members: Any) -> Iterator[tuple[str, Any]]:
    return iter(members.items() if isinstance(members, Mapping) else ())
