"""Each keyword of a JSON schema that a grammar cannot express is dropped with a warning."""

import copy
from typing import Any

import pytest

from llamabind.schema.relax import relaxed, without_repetitions, without_schema
from tests.support.made_bad_schemas import bad_schemas

_STRING = {"type": "string"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("node", "left", "keyword"),
    [
        ({"type": "string", "pattern": "^\\d+$"}, _STRING, "pattern"),
        ({"type": "string", "pattern": "abc"}, _STRING, "pattern"),
        ({"type": "string", "pattern": "^(?=x)y$"}, _STRING, "pattern"),
        ({"type": "string", "pattern": 3}, _STRING, "pattern"),
        ({"type": "string", "pattern": "^(a$"}, _STRING, "pattern"),
        ({"type": "string", "maxLength": 524288}, _STRING, "maxLength"),
        (
            {"type": "string", "minLength": 9, "maxLength": 1e300},
            {**_STRING, "minLength": 9},
            "maxLength",
        ),
        ({"type": "string", "minLength": "3"}, _STRING, "minLength"),
        ({"type": "string", "format": "uri"}, _STRING, "format"),
        (
            {"type": "string", "format": "email", "maxLength": 9},
            {**_STRING, "maxLength": 9},
            "format",
        ),
        ({"type": "string", "enum": None}, _STRING, "enum"),
        ({"type": "string", "enum": [1, 2]}, _STRING, "enum"),
        ({"type": "integer", "maximum": 2**63 - 1}, {"type": "integer"}, "maximum"),
        ({"type": "integer", "minimum": -(2**63)}, {"type": "integer"}, "minimum"),
        ({"type": "integer", "minimum": "1"}, {"type": "integer"}, "minimum"),
        ({"type": "integer", "exclusiveMinimum": True}, {"type": "integer"}, "exclusiveMinimum"),
        ({"type": "number", "minimum": 0}, {"type": "number"}, "minimum"),
        ({"type": "integer", "multipleOf": 5}, {"type": "integer"}, "multipleOf"),
        ({"type": "array", "uniqueItems": True}, {"type": "array"}, "uniqueItems"),
        ({"type": "array", "maxItems": 10**6}, {"type": "array"}, "maxItems"),
        ({"type": "array", "items": None}, {"type": "array", "items": {}}, "items"),
        ({"type": "object", "minProperties": 1}, {"type": "object"}, "minProperties"),
        (
            {"type": "object", "patternProperties": {"a": {}}},
            {"type": "object"},
            "patternProperties",
        ),
        ({"$ref": "#/$defs/none"}, {}, "$ref"),
        ({"$ref": "https://example.org/x.json"}, {}, "$ref"),
        ({"$ref": "#"}, {"type": "object"}, "$ref"),
        ({"type": "any"}, {}, "type"),
        ({"type": ["string", "file"]}, {"type": ["string"]}, "type"),
        ({"type": "string", "not": {"const": "a"}}, _STRING, "not"),
        ({"anyOf": []}, {}, "anyOf"),
        ({"minimum": 3}, {}, "minimum"),
        (
            {"oneOf": [{"type": "string"}, {"enum": ["a"]}]},
            {"anyOf": [{"type": "string"}, {"enum": ["a"]}]},
            "oneOf",
        ),
        (
            {**_object(a=_STRING), "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
            _object(a=_STRING),
            "anyOf",
        ),
        ({**_object(a=_STRING), "allOf": [{"if": {}}]}, _object(a=_STRING), "allOf"),
        (
            {**_object(a=_STRING), "required": ["a", "b"]},
            {**_object(a=_STRING), "required": ["a"]},
            "required",
        ),
    ],
)
def test_one_keyword_is_left_out_with_a_warning_that_names_it(
    node: dict[str, Any], left: dict[str, Any], keyword: str
) -> None:
    schema, warnings = relaxed(_object(x=node), "t")
    assert schema == _object(x=left)
    assert [warning.path for warning in warnings] == [f"t/properties/x/{keyword}"]
    assert " is not enforced: " in str(warnings[0])


@pytest.mark.parametrize("node", [None, 7, "string", [1]])
def test_an_invalid_schema_allows_anything(node: Any) -> None:
    schema, warnings = relaxed(_object(x=node), "t")
    assert schema == _object(x={})
    assert [warning.path for warning in warnings] == ["t/properties/x"]


@pytest.mark.parametrize(
    ("schema", "left"),
    [
        (_object(x=True), _object(x={})),
        (_object(x=False, y={}), _object(y={})),
        (
            {"type": "array", "items": False},
            {"type": "array", "items": {}, "minItems": 0, "maxItems": 0},
        ),
        (
            {"type": "array", "prefixItems": [_STRING], "items": False},
            {"type": "array", "prefixItems": [_STRING]},
        ),
        (
            {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": _STRING}},
            {"$ref": "#/$defs/a", "$defs": {"a": _STRING}},
        ),
        ({"type": "string", "allOf": [{"maxLength": 3}]}, {"type": "string", "maxLength": 3}),
        ({"type": "string", "maxLength": 3.0}, {"type": "string", "maxLength": 3}),
        ({"type": "string", "enum": ["a", None]}, {"type": "string", "enum": ["a"]}),
        ({"type": "string", "maximum": 2**70}, {"type": "string"}),
        ({"type": "object", "propertyNames": {"type": "string"}}, {"type": "object"}),
        (
            {"type": "string", "anyOf": [{"maxLength": 2}, {"const": "abc"}]},
            {"type": "string", "anyOf": [{"type": "string", "maxLength": 2}, {"const": "abc"}]},
        ),
    ],
)
def test_a_schema_that_can_be_rewritten_gives_no_warning(
    schema: dict[str, Any], left: dict[str, Any]
) -> None:
    assert relaxed(schema, "t") == (left, ())


def test_a_schema_with_a_grammar_stays_as_it_is() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "title": "T",
        "properties": {
            "id": {"type": "string", "pattern": "^[a-z]{2,8}$", "description": "d", "default": "x"},
            "n": {"type": ["integer", "null"], "minimum": 0, "maximum": 9},
            "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 4},
            "pattern": {"type": "string", "format": "date"},
        },
        "required": ["id"],
        "additionalProperties": False,
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
    }
    assert relaxed(schema, "t") == (schema, ())


@pytest.mark.parametrize("seed", range(10))
def test_a_relaxed_schema_has_nothing_left_to_relax(seed: int) -> None:
    for schema in bad_schemas(seed, 100):
        before = copy.deepcopy(schema)
        left, _ = relaxed(schema, "t")
        assert schema == before
        assert relaxed(left, "t") == (left, ())
        assert relaxed(without_repetitions(left), "t")[1] == ()


def test_only_a_whole_answer_has_a_property_without_a_name() -> None:
    schema = _object(**{"": _STRING})
    assert relaxed(schema, "t", is_whole=True) == (schema, ())
    left, [warning] = relaxed(schema, "t")
    assert (left, warning.path) == (_object(), "t/properties/")


def test_a_schema_of_very_many_parts_is_left_out_whole() -> None:
    schema, warnings = relaxed(_object(**{f"p{i}": _object(a={}) for i in range(200)}), "t")
    assert not warnings
    parts = {f"p{i}": _object(**{f"q{j}": {} for j in range(200)}) for i in range(200)}
    schema, warnings = relaxed(_object(**parts), "t")
    assert schema == {"type": "object"}
    assert [warning.path for warning in warnings] == ["t"]


def test_without_repetitions_keeps_properties_of_these_names() -> None:
    schema = {
        **_object(pattern={"type": "string", "pattern": "^a$"}, maxLength={"type": "integer"}),
        "$defs": {
            "minItems": {"type": "array", "minItems": 3, "items": {"const": {"maxItems": 1}}}
        },
    }
    assert without_repetitions(schema) == {
        **_object(pattern=_STRING, maxLength={"type": "integer"}),
        "$defs": {"minItems": {"type": "array", "items": {"const": {"maxItems": 1}}}},
    }


@pytest.mark.parametrize(
    ("schema", "kind"),
    [({"type": "array"}, "array"), ({}, "object"), ({"type": ["null"]}, "object")],
)
def test_without_its_schema_a_value_has_its_type_only(schema: dict[str, Any], kind: str) -> None:
    assert without_schema(schema) == {"type": kind}
