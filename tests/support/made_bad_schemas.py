"""JSON schemas made at random of keywords that are wrong, unknown, or have no grammar."""

import random
from collections.abc import Iterator
from typing import Any

_KEYWORDS = [
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "uniqueItems",
    "contains",
    "additionalItems",
    "unevaluatedItems",
    "unevaluatedProperties",
    "pattern",
    "format",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "enum",
    "const",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "if",
    "$ref",
    "$defs",
    "definitions",
    "description",
    "x-unknown",
    "default",
    "dependentRequired",
]
_SIMPLE = ("object", "array", "string", "integer", "number", "boolean", "null", "any", None)
_TYPES: tuple[Any, ...] = (
    *_SIMPLE,
    ["string", "null"],
    ["integer", "integer"],
    ["bogus", "string"],
    [],
)
_NAMES = ("a", "b", "A", "B", "", "*", "]", "c d", "type", "pattern")
_PATTERNS = [
    r"^\d+$",
    r"^[a-z]+$",
    r"^a{2,3000}$",
    r"abc",
    r"^(?=x)y$",
    r"^a\$",
    r"^$",
    r"^[^a]$",
    r"^(ab|c)*$",
    r"^a\.b$",
    r"(",
    r"^a|b$",
    r"^[]a]$",
    r"^\/$",
    r"^(?:ab){2}$",
    r"^é*$",
    r"^a{,3}$",
    r'^a"b$',
    r"^x{1001}{1001}$",
    r"^[\w-]+$",
    r"^]$",
    r"^}$",
    r"^a*?$",
    r"^((((a))))$",
    r"^[a-]$",
    r"^()$",
    r"^a**$",
    r"^(?P<n>a)$",
    r"^\u00e9$",
]
_REFS = [
    "#",
    "#/$defs/A",
    "#/$defs/B",
    "#/definitions/A",
    "#/properties/a",
    "#/properties/a/items",
    "#/x",
    "http://x",
    "#/$defs/a~1b",
    "#/anyOf/0",
    "#/allOf/0",
    "#/$defs/A/properties/a",
    "#/$defs/c%20d",
    "#/$defs/c-d",
]
_LEAVES: tuple[Any, ...] = (
    {"type": "string"},
    {"type": "integer"},
    {},
    {"const": 1},
    {"enum": ["a", "b"]},
    True,
    False,
    None,
    {"$ref": "#/$defs/A"},
)


_MEMBERS = ("properties", "$defs", "definitions")
_LISTS = ("prefixItems", "anyOf", "oneOf", "allOf")
_SCHEMAS = [
    "items",
    "additionalProperties",
    "not",
    "if",
    "contains",
    "propertyNames",
    "additionalItems",
    "unevaluatedItems",
    "unevaluatedProperties",
]
_TEXTS: dict[str, Any] = {
    "pattern": _PATTERNS,
    "$ref": _REFS,
    "format": ("date", "email", "uuid", "uuid9", "date-time"),
    "x-unknown": ({"minimum": 1e300, "pattern": "("},),
}


def bad_schemas(seed: int, n: int) -> Iterator[dict[str, Any]]:
    """`n` schemas, always the same for a seed."""
    maker = _Maker(random.Random(seed))
    for _ in range(n):
        schema = maker.node(4)
        if maker.random.random() < 0.5:
            schema.setdefault("$defs", {"A": maker.schema(2), "B": maker.schema(2)})
        yield schema


class _Maker:
    def __init__(self, source: random.Random) -> None:
        self.random = source

    def scalar(self) -> Any:
        values = (None, True, False, 0, 1, -1, 2.0, 1.5, 3000, 2**53, 2**63 - 1, 1e300, "x", "")
        return self.random.choice((*values, [], {}, "object", [1]))

    def schema(self, depth: int) -> Any:
        if self.random.random() < 0.04:
            return self.scalar()
        return self.node(depth) if depth else self.random.choice(_LEAVES)

    def node(self, depth: int) -> dict[str, Any]:
        node: dict[str, Any] = {}
        if self.random.random() < 0.75:
            node["type"] = self.random.choice(_TYPES)
        for key in self.random.sample(_KEYWORDS, self.random.choice((0, 1, 1, 2, 2, 3, 4))):
            node[key] = self.scalar() if self.random.random() < 0.12 else self.value(key, depth - 1)
        return node

    def value(self, key: str, depth: int) -> Any:
        if key in _MEMBERS:
            return {self.random.choice(_NAMES): self.schema(depth) for _ in range(self.count())}
        if key in _LISTS:
            return [self.schema(depth) for _ in range(self.count())]
        if key in _SCHEMAS:
            return self.schema(depth)
        if key == "required":
            return self.random.sample(["a", "b", "z"], self.random.randint(0, 3))
        if key == "enum":
            return [self.scalar() for _ in range(self.count())]
        return self.random.choice(_TEXTS[key]) if key in _TEXTS else self.scalar()

    def count(self) -> int:
        return self.random.randint(0, 3)
