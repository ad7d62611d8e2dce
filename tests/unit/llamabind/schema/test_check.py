"""A keyword that llama.cpp would ignore in a JSON schema is refused with its path."""

from typing import Any

import pytest

from llamabind.errors import InvalidParameterError
from llamabind.schema.check import check_schema

_NAMED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def _tagged(value: str) -> dict[str, Any]:
    return {"type": "object", "properties": {"kind": {"const": value}}, "required": ["kind"]}


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"type": "string", "maxLength": 2001}, "/maxLength"),
        ({"type": "string", "pattern": "^a$", "maxLength": 3}, "/maxLength"),
        ({"type": "string", "format": "email"}, "/format"),
        ({"type": "string", "format": "date", "minLength": 3}, "/minLength"),
        ({"type": "string", "pattern": "^.*$"}, "/pattern"),
        ({"type": "string", "pattern": "^[^a]$"}, "/pattern"),
        ({"type": "string", "pattern": "^[ -~]$"}, "/pattern"),
        ({"type": "string", "pattern": '^a"b$'}, "/pattern"),
        ({"type": "string", "pattern": "^\\[.[a]$"}, "/pattern"),
        ({"type": "string", "pattern": "^\\x22$"}, "/pattern"),
        ({"type": "string", "pattern": "^a{1,3000}$"}, "/pattern"),
        ({"type": "string", "pattern": "^ab\\.*$"}, "/pattern"),
        ({"type": "string", "pattern": "^aé*$"}, "/pattern"),
        ({"type": "string", "pattern": "^a{,2}$"}, "/pattern"),
        ({"type": "string", "not": {"const": "a"}}, "/not"),
        ({"type": "number", "minimum": 0}, "/minimum"),
        ({"type": "integer", "multipleOf": 5}, "/multipleOf"),
        ({"type": "integer", "minimum": 1, "exclusiveMinimum": 0}, "/exclusiveMinimum"),
        ({"type": "integer", "exclusiveMinimum": 5, "maximum": 5}, "/exclusiveMinimum"),
        ({"type": "integer", "minimum": 0.2, "maximum": 0.8}, "/minimum"),
        ({"type": "integer", "minimum": 100}, "/minimum"),
        ({"type": "integer", "exclusiveMaximum": 0}, "/exclusiveMaximum"),
        ({"properties": {"*": {}}, "additionalProperties": True}, "/properties/*"),
        ({"properties": {"": {}}, "additionalProperties": True}, "/properties/"),
        ({"properties": {"]": {}}, "additionalProperties": {}}, "/properties/]"),
        ({"properties": {"": {}}}, "/properties/"),
        ({"allOf": [{"properties": {"": {}}}]}, "/allOf/0/properties/"),
        ({"$ref": "#/$defs/a~1b"}, "/$ref"),
        (
            {"anyOf": [{"$ref": "#/$defs/a b"}, {"$ref": "#/$defs/a-b"}]},
            "/anyOf/1/$ref",
        ),
        ({"type": "array", "uniqueItems": True}, "/uniqueItems"),
        ({"type": "array", "contains": {}}, "/contains"),
        ({"type": "array", "maxItems": 2001}, "/maxItems"),
        ({"type": "array", "items": {}, "prefixItems": [{}]}, "/prefixItems"),
        ({"type": "array", "prefixItems": [{}], "minItems": 2}, "/prefixItems"),
        ({"type": "array", "items": {"type": "number", "maximum": 1}}, "/items/maximum"),
        ({"type": "object", "minProperties": 1}, "/minProperties"),
        ({"type": "object", "patternProperties": {"a": {}}}, "/patternProperties"),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, "/dependentRequired"),
        ({"type": "object", "required": ["a"]}, "/required"),
        ({"type": "object", "if": {}, "then": {}}, "/if"),
        (_NAMED | {"allOf": [_NAMED]}, "/properties"),
        ({"minimum": 3}, "/minimum"),
        ({"not": {}}, "/not"),
        ({"anyOf": [{"type": "string"}], "minLength": 2}, "/minLength"),
        ({"type": "string", "anyOf": [{"type": "integer"}]}, "/type"),
        ({"anyOf": [{}], "oneOf": [{}]}, "/anyOf"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "/oneOf"),
        ({"oneOf": [_NAMED, _tagged("a")]}, "/oneOf"),
        ({"allOf": [{"type": "string"}]}, "/allOf/0"),
        ({"allOf": [_NAMED, _NAMED]}, "/allOf/1"),
        ({"const": 5, "type": "string"}, "/const"),
        ({"enum": ["a", 5], "type": "string"}, "/enum"),
        ({"enum": ["a"], "minLength": 3}, "/minLength"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "number", "maximum": 2}}}, "/$ref/maximum"),
        ({"$ref": "#/$defs/a", "minLength": 1, "$defs": {"a": {}}}, "/minLength"),
        ({"$dynamicRef": "#a"}, "/$dynamicRef"),
        ({"type": "object", "properties": {"a": {"minimum": 1}}}, "/properties/a/minimum"),
        ({"type": "array", "prefixItems": [{}], "minItems": "x"}, ""),
        ({"type": "object", "required": 5}, ""),
    ],
)
def test_what_would_be_left_out_is_refused_by_its_path(schema: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        check_schema(schema)
    assert caught.value.field == f"json_schema{field}"


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        _NAMED | {"additionalProperties": False, "title": "T", "description": "d"},
        {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
        {"type": ["string", "null"], "minLength": 1, "maxLength": 2000},
        {"type": "string", "pattern": "^[a-z_-]{2,8}(x|y)?\\.\\[$"},
        {"type": "string", "pattern": "^[\\u4e00-\\u9fa5]+$"},
        {"type": "string", "format": "date-time"},
        {"type": "integer", "exclusiveMinimum": 0, "maximum": 10, "multipleOf": 1},
        {"type": "number", "format": "float", "minLength": 3},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": False},
        {"type": "array", "prefixItems": [{}, {}], "minItems": 2, "maxItems": 2},
        {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        {"type": "string", "anyOf": [{"const": "a"}, {"type": "string", "minLength": 3}]},
        {"oneOf": [_tagged("a"), _tagged("b")]},
        {"oneOf": [{"type": "string"}, {"type": "array"}]},
        {"allOf": [_NAMED, _tagged("b")]},
        {"type": "string", "const": "a", "enum": ["a"]},
        {"type": ["string", "null"], "enum": ["a", None]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"next": {"$ref": "#/$defs/a"}}}}},
    ],
)
def test_what_is_honoured_in_every_word_is_accepted(schema: dict[str, Any]) -> None:
    check_schema(schema)


def test_a_deep_schema_is_refused_without_exhausting_the_stack() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5_000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(InvalidParameterError, match="nested deeper"):
        check_schema(schema)
