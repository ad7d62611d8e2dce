"""Each keyword of a JSON schema is enforced, refused with `strict`, or dropped with a warning."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llamabind.errors import InvalidParameterError
from llamabind.generation.answer_masks import AnswerSchema
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from tests.support.made_bad_schemas import bad_schemas
from tests.support.mask_walks import Walker, why_invalid

pytestmark = pytest.mark.native

INTEGER, STRING = {"type": "integer"}, {"type": "string"}


def _string(**keywords: Any) -> dict[str, Any]:
    return {"type": "string", **keywords}


def _closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


TREE = {**_closed(v=INTEGER, next={"$ref": "#"}), "required": ["v"]}
ENFORCED: dict[str, Any] = {
    "number bounds": {"type": "number", "minimum": 0, "maximum": 1},
    "a lower bound": {"type": "number", "minimum": -2.5},
    "exclusive bounds": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 10},
    "integer bounds": {"type": "integer", "minimum": 3, "exclusiveMaximum": 18},
    "64-bit bounds": {"type": "integer", "maximum": 2**63 - 1, "minimum": -(2**63)},
    "bounds of either kind": {"type": ["number", "null"], "minimum": 1},
    "multiples": {"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 700},
    "decimal multiples": {"type": "number", "multipleOf": 0.5, "minimum": 0, "maximum": 9},
    "digits": _string(pattern=r"^\d{4}$"),
    "words and blanks": _string(pattern=r"^\w{1,4}\s\S{2}$"),
    "classes": _string(pattern=r"^[\w.-]{2,5}[^\d\s]$"),
    "an escaped slash": _string(pattern=r"^https?:\/\/[a-z]{1,5}$"),
    "no anchors": _string(pattern="[0-9]{3}", maxLength=6),
    "one anchor": _string(pattern="^ab"),
    "an alternative of anchors": _string(pattern="^a|b$", maxLength=6),
    "a dot": _string(pattern="^a.c$"),
    "brackets in a class": _string(pattern=r"^[a&[~]{3}$"),
    "lazy repetitions": _string(pattern="^a+?b*?$"),
    "a pattern and lengths": _string(pattern="^[a-z]+$", minLength=2, maxLength=6),
    "lengths": _string(minLength=3, maxLength=8),
    "a long maxLength": _closed(s=_string(maxLength=524_288)),
    **{
        f"format {name}": _string(format=name)
        for name in (
            *("email", "uri", "ipv4", "ipv6", "hostname", "duration", "uuid"),
            *("date", "time", "date-time", "idn-email", "iri", "uri-reference", "json-pointer"),
        )
    },
    "a format and a pattern": _string(format="date", pattern="^20"),
    "a format and lengths": _string(format="email", maxLength=20),
    "an enum": {"enum": ["a", 1, None, {"a": [True]}]},
    "1,000 values": {"enum": [f"item_{i}" for i in range(1000)]},
    "an enum and a type": {"type": "string", "enum": ["a", "b", 3]},
    "a constant": {"const": {"a": [1, "\x01é/"]}},
    "unique enums": {
        "type": "array",
        "items": {"enum": ["a", "b", "c"]},
        "uniqueItems": True,
        "minItems": 2,
    },
    "unique booleans": {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True},
    "counts of items": {"type": "array", "items": INTEGER, "minItems": 2, "maxItems": 4},
    "a closed tuple": {"type": "array", "prefixItems": [INTEGER, STRING], "items": False},
    "an open tuple": {"type": "array", "prefixItems": [INTEGER], "items": STRING, "maxItems": 3},
    "no items": {"type": "array", "items": False},
    "recursion by #": TREE,
    "recursion by name": {
        **_closed(list={"$ref": "#/$defs/list"}),
        "$defs": {"list": {"type": "array", "items": {"$ref": "#/$defs/list"}, "maxItems": 2}},
    },
    "escapes in references": {
        "type": "array",
        "items": {"$ref": "#/$defs/a~1b%20c"},
        "$defs": {"a/b c": INTEGER},
    },
    "true": {"type": "object", "properties": {"a": True}, "required": ["a"]},
    "false": {"type": "object", "properties": {"a": False, "b": INTEGER}, "required": ["b"]},
    "zod's never": {"type": "object", "properties": {"a": {"not": {}}, "b": INTEGER}},
    "patternProperties": {
        "type": "object",
        "patternProperties": {r"^x_\d$": INTEGER},
        "additionalProperties": False,
        "minProperties": 1,
    },
    "propertyNames by a pattern": {
        "type": "object",
        "propertyNames": {"pattern": "^[a-c]+$"},
        "additionalProperties": INTEGER,
    },
    "propertyNames by an enum": {
        "type": "object",
        "propertyNames": {"enum": ["a", "b"]},
        "additionalProperties": INTEGER,
        "minProperties": 1,
    },
    "propertyNames by lengths": {
        "type": "object",
        "propertyNames": {"minLength": 2, "maxLength": 3},
        "additionalProperties": {"type": "boolean"},
        "maxProperties": 3,
    },
    "maxProperties": {"type": "object", "additionalProperties": INTEGER, "maxProperties": 1},
    "counts of optional properties": {
        **_closed(a=INTEGER, b=INTEGER, c=INTEGER),
        "minProperties": 1,
        "maxProperties": 2,
    },
    "required outside properties": {"type": "object", "properties": {}, "required": ["z"]},
    "anyOf beside properties": {
        **_closed(a=INTEGER, b=INTEGER),
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    },
    "allOf": {
        "allOf": [
            {"type": "object", "properties": {"a": INTEGER}, "required": ["a"]},
            {"properties": {"b": {"type": "number", "minimum": 3}}, "required": ["b"]},
        ]
    },
    "keywords beside a reference": {
        "$ref": "#/$defs/n",
        "maximum": 5,
        "$defs": {"n": {"type": "integer", "minimum": 0}},
    },
    "oneOf by type": {"oneOf": [INTEGER, STRING]},
    "a name of nothing": _closed(**{"": INTEGER}),
}
UNENFORCED: dict[str, tuple[dict[str, Any], str]] = {
    "a lookahead": (_string(pattern="^(?=x)y$"), "pattern"),
    "a lookbehind": (_string(pattern="(?<!a)b"), "pattern"),
    "a word boundary": (_string(pattern=r"\bfoo\b"), "pattern"),
    "a back reference": (_string(pattern=r"^(a|b)\1$"), "pattern"),
    "a count that is none": (_string(pattern="^a{1, 2}$"), "pattern"),
    "a pattern that explodes": (_string(pattern="^((a{100}){100}){100}$"), "pattern"),
    "a pattern that is too long": (_string(pattern="^" + "a" * 3000), "pattern"),
    "an unknown format": (_string(format="phone"), "format"),
    "a regex's format": (_string(format="regex"), "format"),
    "not": ({"type": "string", "not": {"const": "a"}}, "not"),
    "if": ({"type": "object", "if": {"required": ["a"]}, "then": {"required": ["b"]}}, "if"),
    "contains": ({"type": "array", "contains": INTEGER}, "contains"),
    "unique strings": ({"type": "array", "items": STRING, "uniqueItems": True}, "uniqueItems"),
    "dependentRequired": (
        {"type": "object", "dependentRequired": {"a": ["b"]}},
        "dependentRequired",
    ),
    "oneOf that overlaps": ({"oneOf": [INTEGER, {"type": "number"}]}, "oneOf"),
    "a reference to elsewhere": ({"$ref": "https://example.com/s.json"}, "$ref"),
    "a reference to nothing": ({"$ref": "#/$defs/none"}, "$ref"),
    "an enum of nothing": ({"type": "string", "enum": None}, "enum"),
    "no list of items": ({"type": "array", "items": None}, "items"),
    "an unknown type": ({"type": "str"}, "type"),
    "a large divisor": ({"type": "integer", "multipleOf": 123_456_789}, "multipleOf"),
    "bounds that contradict": ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum"),
    "lengths that contradict": (_string(minLength=5, maxLength=3), "minLength"),
    "patterns that overlap": (
        {"type": "object", "patternProperties": {"^a": INTEGER, "b$": STRING}},
        "patternProperties",
    ),
    "propertyNames by a format": (
        {"type": "object", "propertyNames": {"format": "email"}},
        "propertyNames",
    ),
}


@pytest.fixture(scope="module", params=["gpt-2", "llama-spm"])
def walker(vocab_dir: Path, request: pytest.FixtureRequest) -> Iterator[Walker]:
    path = vocab_dir / f"ggml-vocab-{request.param}.gguf"
    with Model(path, ModelParams(vocab_only=True)) as model:
        yield Walker(model.tokenizer)


@pytest.mark.parametrize("name", ENFORCED)
def test_every_answer_follows_what_is_enforced(walker: Walker, name: str) -> None:
    schema = ENFORCED[name]
    for seed in range(6):
        text = walker.answer(schema, seed)
        assert not (why := why_invalid(schema, text)), (why, text)


@pytest.mark.parametrize("name", UNENFORCED)
def test_what_is_not_enforced_is_an_error_if_strict_else_a_warning(
    walker: Walker, name: str
) -> None:
    part, keyword = UNENFORCED[name]
    schema = {**_closed(a=part, b={"enum": ["x", "y"]}), "required": ["a", "b"]}
    with pytest.raises(InvalidParameterError) as caught:
        walker.start(schema)
    assert caught.value.field.startswith(f"json_schema/properties/a/{keyword}")
    _, [warning] = walker.start(schema, is_lenient=True)
    assert warning.startswith(f"{caught.value.field} is not enforced: ")
    text = walker.answer(schema, 1, is_lenient=True)
    rest = {**schema, "properties": {**schema["properties"], "a": {}}}
    assert not (why := why_invalid(rest, text)), (why, text)


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"enum": ["a"]}, '"a"', '"b"'),
        (_closed(a=INTEGER, b=INTEGER), '{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),
        (_closed(a=INTEGER), '{\n  "a": 1\n}', '{    "a": 1}'),
        ({"type": "object", "properties": {"a": INTEGER}}, '{"a": 1}', '{"a": 1, "b": 1}'),
        (_string(format="date"), '"2024-02-29"', '"2023-02-29"'),
        (_string(format="date-time"), '"2024-12-31T23:59:59Z"', '"2024-12-31T23:59:60Z"'),
        (_string(format="byte"), '"aGk="', '"aGk"'),
        (STRING, '"\\u00e9\\ud83d\\ude00"', '"\\ud83d"'),
        (INTEGER, "9007199254740991", "9007199254740992"),
        ({"type": "number"}, "0.0000000001", "0.00000000001"),
        ({"type": "integer", "exclusiveMinimum": True, "minimum": 5}, "6", "5"),
        ({"type": "array", "items": [INTEGER], "additionalItems": False}, "[1]", "[1, 2]"),
        ({"type": "array", "prefixItems": [INTEGER, INTEGER]}, "[1, 2]", "[1]"),
    ],
)
def test_an_answer_is_narrow(walker: Walker, schema: Any, right: str, wrong: str) -> None:
    assert walker.allows(schema, right)
    assert not walker.allows(schema, wrong)


def test_the_end_of_an_answer_is_its_only_continuation(walker: Walker) -> None:
    assert not walker.allows(_closed(a=INTEGER), '{"a": 1} ')
    assert not walker.allows(STRING, '"a')


@pytest.mark.parametrize("seed", range(3))
def test_any_schema_that_is_not_strict_gives_an_answer(walker: Walker, seed: int) -> None:
    for index, schema in enumerate(bad_schemas(seed, 40)):
        # It may have to be longer than the test: 3,000 properties, for example.
        assert walker.answer(schema, index, is_lenient=True, must_end=False)


def test_a_schema_that_is_too_large_loses_its_counts_then_itself() -> None:
    counted = {
        f"p{i}": {"type": "object", "properties": {f"q{j}": STRING for j in range(150)}}
        for i in range(200)
    }
    schema = {"type": "object", "properties": counted}
    [warning] = AnswerSchema(schema, is_lenient=True).warnings
    assert warning == "json_schema is not enforced: it has more than 20000 parts"
    with pytest.raises(InvalidParameterError, match="more than 20000 parts"):
        _ = AnswerSchema(schema, is_lenient=False).warnings


def test_a_deep_schema_is_enforced_to_the_bottom(walker: Walker) -> None:
    schema: dict[str, Any] = INTEGER
    for _ in range(90):
        schema = {**_closed(a=schema), "required": ["a"]}
    assert walker.allows(schema, '{"a":' * 90 + "5" + "}" * 90)
    assert not walker.allows(schema, '{"a":' * 90 + '"x"' + "}" * 90)
