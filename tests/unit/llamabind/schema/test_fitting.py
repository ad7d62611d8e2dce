"""FittedSchemas: strict schemas are checked, others are relaxed step by step."""

from typing import Any

import pytest

from llamabind.errors import GrammarError, InvalidParameterError
from llamabind.schema.fitting import FittedSchemas, KnownFits, key_of

_BAD = {
    "type": "object",
    "properties": {"a": {"type": "string", "pattern": "^\\d$", "maxLength": 9}},
}
_GOOD = {"type": "object", "properties": {"a": {"type": "string"}}}
_TOO_LARGE = GrammarError("with its repetitions written out it has more than 500,000 elements")


def _tool(name: str, parameters: Any, *, strict: bool | None = None) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": name, "parameters": parameters, "strict": strict},
    }


def _parameters(options: dict[str, Any], index: int = 0) -> Any:
    return options["tools"][index]["function"]["parameters"]


def test_a_tool_that_is_not_strict_loses_what_has_no_grammar_and_is_shown_whole() -> None:
    fitted = FittedSchemas({"tools": [_tool("f", _BAD)]})
    assert _parameters(fitted.options) == {
        "type": "object",
        "properties": {"a": {"type": "string", "maxLength": 9}},
    }
    assert fitted.options["shown_tools"] == [_tool("f", _BAD)]
    [warning] = fitted.warnings
    assert warning.startswith("tools[0].function.parameters/properties/a/pattern is not enforced")


def test_tools_with_a_grammar_are_passed_as_they_are() -> None:
    tools = [_tool("f", _GOOD), _tool("g", None), {"type": "function", "function": {"name": "h"}}]
    fitted = FittedSchemas({"tools": tools})
    assert fitted.options == {"tools": tools}
    assert fitted.warnings == ()


def test_a_strict_tool_is_an_error_that_names_the_keyword() -> None:
    with pytest.raises(InvalidParameterError) as caught:
        FittedSchemas({"tools": [_tool("f", _GOOD), _tool("g", {**_GOOD, "not": {}}, strict=True)]})
    assert caught.value.field == "tools[1].function.parameters/not"


def test_a_grammar_that_is_too_large_loses_repetitions_then_the_largest_schemas() -> None:
    large = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(9)}}
    counted = {"type": "array", "items": {"type": "string"}, "maxItems": 2000}
    tools = [_tool("f", counted), _tool("g", large), _tool("h", _GOOD)]
    fitted = FittedSchemas({"tools": tools})
    assert fitted.weaken(_TOO_LARGE)
    assert _parameters(fitted.options) == {"type": "array", "items": {"type": "string"}}
    assert _parameters(fitted.options, 1) == large
    assert len(fitted.warnings) == 1
    assert fitted.weaken(_TOO_LARGE)
    assert _parameters(fitted.options, 1) == {"type": "object"}
    while fitted.weaken(_TOO_LARGE):
        pass
    assert [_parameters(fitted.options, i) for i in range(3)] == [
        {"type": "array"},
        {"type": "object"},
        {"type": "object"},
    ]
    assert (len(fitted.warnings), fitted.options["shown_tools"]) == (3, tools)


def test_an_error_of_one_schema_cuts_down_that_one() -> None:
    fitted = FittedSchemas({"tools": [_tool("f", _GOOD), _tool("g", _GOOD)]})
    error = InvalidParameterError("tools[1].function.parameters/properties/a", "more than 100,000")
    assert fitted.weaken(error)
    assert _parameters(fitted.options, 0) == _GOOD
    assert _parameters(fitted.options, 1) == {"type": "object"}
    assert not fitted.weaken(error)


@pytest.mark.parametrize(
    "error",
    [
        InvalidParameterError("messages[0].role", "is missing"),
        InvalidParameterError("tools[0].function.name", "is there twice"),
        InvalidParameterError("tools[1].function.parameters/a", "of a strict tool"),
        InvalidParameterError("json_schema", "there is none"),
    ],
)
def test_other_errors_are_left_to_the_caller(error: InvalidParameterError) -> None:
    fitted = FittedSchemas({"tools": [_tool("f", _GOOD), _tool("g", _GOOD, strict=True)]})
    assert not fitted.weaken(error)


def test_the_same_tools_need_not_be_tried_again() -> None:
    options = {"tools": [_tool("f", _GOOD)]}
    fits = KnownFits()
    fitted = FittedSchemas(options)
    assert fits.find(key_of(options)) is None
    fitted.weaken(_TOO_LARGE)
    fits.keep(key_of(options), fitted.levels)
    again = FittedSchemas(options, fits.find(key_of({"tools": [_tool("f", _GOOD)]})) or ())
    assert again.options == fitted.options
    assert again.warnings == fitted.warnings
    assert fits.find(key_of({"tools": [_tool("g", _GOOD)]})) is None


def test_options_that_are_not_json_are_never_remembered() -> None:
    fits = KnownFits()
    fits.keep(key_of({"tools": [{1, 2}]}), (0,))
    assert fits.find(key_of({"tools": [{3}]})) is None
