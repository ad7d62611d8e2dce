"""Errors of llama.cpp's schema converter name the path of the keyword, in one line."""

import pytest

from llamabind import ChatTemplate
from llamabind.errors import GrammarError, InvalidParameterError
from llamabind.schema.to_grammar import grammar_of_field, json_schema_to_grammar

TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
REFUSED = [
    ({"$ref": "#/nope"}, "/$ref: cannot resolve $ref #/nope, nope not found"),
    (
        {"$ref": "#"},
        "/$ref: unsupported $ref #, only references into the same document are supported",
    ),
    ({"$ref": 5}, "/$ref: must be a string"),
    ({"type": "strin"}, "/type: unrecognized type strin"),
    ({"type": ["string", "strin"]}, "/type/1: unrecognized type strin"),
    ({"type": []}, "/type: must not be empty"),
    ({"enum": []}, "/enum: must be a non-empty array"),
    ({"pattern": "^[a-$"}, "/pattern: invalid pattern ^[a-$: unterminated character class"),
    ({"properties": []}, "/properties: must be an object"),
    ({"properties": {"b: c": 5}}, "/properties/b: c: schema must be an object"),
    ({"anyOf": []}, "/anyOf: must not be empty"),
    ({"type": "string", "minLength": "x"}, "/minLength: must be a non-negative integer"),
    ({"$ref": "#/a\nb"}, "/$ref: cannot resolve $ref #/a b, a b not found"),
]


@pytest.mark.parametrize(("part", "said"), REFUSED)
def test_a_refusal_names_the_keyword(part, said):
    schema = {"type": "object", "properties": {"a": part}}
    messages = [{"role": "user", "content": "hi"}]
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    with (
        ChatTemplate(None, TEMPLATE) as template,
        pytest.raises(InvalidParameterError) as refused,
    ):
        template.render(messages, tools=[tool])
    assert str(refused.value) == f"tools[0].function.parameters/properties/a{said}"
    with pytest.raises(GrammarError, match=r"^json_schema/properties/a"):
        json_schema_to_grammar(schema)


def test_the_field_is_the_path():
    with pytest.raises(InvalidParameterError) as refused:
        grammar_of_field({"items": {"type": "strin"}})
    assert (refused.value.field, refused.value.message) == (
        "json_schema/items/type",
        "'strin' is not a JSON type",
    )


def test_a_schema_without_json_names_the_field():
    with pytest.raises(InvalidParameterError, match=r"^json_schema: cannot be written as JSON"):
        grammar_of_field({"const": float("nan")})
