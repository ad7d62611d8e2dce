"""Everyday schemas by HTTP, in all dialects, with the bundled model at temperature 0."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema.validators import Draft202012Validator

from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e

_HI = [{"role": "user", "content": "hi"}]


def _closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_UNIT = {"type": "number", "minimum": 0, "maximum": 1}
# Formats and open patterns may take a small model longer than the limit: only their status counts.
_SCHEMAS: dict[str, tuple[dict[str, Any], bool]] = {
    "number bounds": (_closed(v=_UNIT), True),
    "several bounds": (_closed(v={"type": "number", "exclusiveMinimum": 2}, w=_UNIT), True),
    "bounds and null": (_closed(v={"anyOf": [_UNIT, {"type": "null"}]}), True),
    "multiples": (_closed(v={"type": "integer", "multipleOf": 5, "maximum": 50}), True),
    "email": (_closed(e={"type": "string", "format": "email"}), False),
    "ipv4": (_closed(e={"type": "string", "format": "ipv4"}), True),
    "uri": (_closed(e={"type": "string", "format": "uri"}), False),
    "digits": (_closed(y={"type": "string", "pattern": "^\\d{4}$"}), True),
    "words": (_closed(y={"type": "string", "pattern": "^\\w{3}\\s\\w{3}$"}), True),
    "a search": (_closed(y={"type": "string", "pattern": "[0-9]", "maxLength": 4}), True),
    "1,000 values": (_closed(e={"enum": [f"item_{i}" for i in range(1000)]}), True),
    "numbers as values": (_closed(e={"enum": list(range(1500))}), True),
    "values of several types": (_closed(e={"enum": ["a", 1, None, True]}), True),
    "a closed tuple": (
        _closed(
            t={
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "boolean"}],
                "items": False,
            }
        ),
        True,
    ),
    "a tuple of tuples": (
        _closed(
            t={
                "type": "array",
                "prefixItems": [
                    {"type": "array", "prefixItems": [_UNIT, _UNIT], "items": False},
                    {"type": "boolean"},
                ],
                "items": False,
            }
        ),
        True,
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("schemas")
    bundled = Path(__file__).parents[3] / "llamabind" / "models" / TINY
    (folder / TINY).symlink_to(bundled)
    with ServerProcess(folder) as process:
        yield process


def _chat(server: ServerProcess, **body: Any) -> tuple[int, Any]:
    base = {"model": TINY, "messages": _HI, "max_tokens": 120, "temperature": 0}
    status, document = server.request("POST", "/v1/chat/completions", base | body)
    return status, document


def _format(schema: Any, *, strict: bool = True) -> dict[str, Any]:
    wanted = {"name": "x", "schema": schema, "strict": strict}
    return {"type": "json_schema", "json_schema": wanted}


@pytest.mark.parametrize("name", _SCHEMAS)
def test_an_answer_follows_an_everyday_schema(server: ServerProcess, name: str) -> None:
    schema, must_end = _SCHEMAS[name]
    status, document = _chat(server, response_format=_format(schema))
    assert status == 200, document
    [choice] = document["choices"]
    if must_end:
        assert choice["finish_reason"] == "stop", choice
        Draft202012Validator(schema).validate(json.loads(choice["message"]["content"]))


def test_every_dialect_enforces_the_schema(server: ServerProcess) -> None:
    schema, _ = _SCHEMAS["number bounds"]
    base = {"model": TINY, "temperature": 0}
    chat = {"messages": _HI, "max_tokens": 120}
    wanted = {"type": "json_schema", "name": "x", "schema": schema}
    calls = {
        "/v1/responses": {"input": "hi", "max_output_tokens": 120, "text": {"format": wanted}},
        "/v1/messages": chat
        | {"output_config": {"format": {"type": "json_schema", "schema": schema}}},
        "/api/chat": {"messages": _HI, "stream": False, "format": schema},
        "/api/generate": {"prompt": "hi", "stream": False, "format": schema},
        "/completion": {"prompt": "hi", "n_predict": 120, "json_schema": schema},
        "/v1/completions": {"prompt": "hi", "max_tokens": 120, "json_schema": schema},
    }
    for path, body in calls.items():
        status, document = server.request("POST", path, base | body)
        assert status == 200, (path, document)
        text = _text(path, document)
        Draft202012Validator(schema).validate(json.loads(text))


def _text(path: str, document: Any) -> str:
    texts = {
        "/v1/responses": lambda: document["output"][-1]["content"][0]["text"],
        "/v1/messages": lambda: document["content"][-1]["text"],
        "/api/chat": lambda: document["message"]["content"],
        "/api/generate": lambda: document["response"],
        "/completion": lambda: document["content"],
        "/v1/completions": lambda: document["choices"][0]["text"],
    }
    return str(texts[path]())


_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "f",
            "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
        },
    }
]
_CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}},
    "required": ["city"],
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("more", [{}, {"min_tokens": 5}])
def test_beside_tools_an_answer_follows_the_schema_or_calls(
    server: ServerProcess, seed: int, more: dict[str, Any]
) -> None:
    status, document = _chat(
        server,
        response_format=_format(_CITY),
        tools=_TOOLS,
        temperature=1,
        seed=seed,
        max_tokens=60,
        **more,
    )
    assert status == 200, document
    [choice] = document["choices"]
    if choice["finish_reason"] == "stop":
        Draft202012Validator(_CITY).validate(json.loads(choice["message"]["content"]))
    elif choice["finish_reason"] == "tool_calls":
        [call, *_] = choice["message"]["tool_calls"]
        assert call["function"]["name"] == "f"
    else:
        assert choice["finish_reason"] == "length", choice


def test_an_answer_ends_with_its_json_whatever_else_is_asked(server: ServerProcess) -> None:
    for more in ({"ignore_eos": True}, {"min_tokens": 100}, {"logprobs": True, "top_logprobs": 2}):
        status, document = _chat(server, response_format=_format(_CITY), **more)
        assert status == 200, document
        [choice] = document["choices"]
        assert choice["finish_reason"] == "stop", (more, choice)
        assert json.loads(choice["message"]["content"])["city"] in ("Paris", "Rome")


@pytest.mark.parametrize("pattern", ["^(?=x)y$", "\\bfoo", "^(a)\\1$"])
def test_strict_refuses_what_cannot_be_enforced(server: ServerProcess, pattern: str) -> None:
    schema = _closed(a={"type": "string", "pattern": pattern})
    status, document = _chat(server, response_format=_format(schema))
    assert status == 400, document
    assert "json_schema/properties/a/pattern" in document["error"]["message"]
    assert _chat(server, response_format=_format(schema, strict=False))[0] == 200


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^((a{100}){100}){100}$"},
        {"type": "integer", "multipleOf": 123_456_789},
        {"type": "string", "pattern": "(" * 900 + ")" * 900},
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"type": "array", "items": {"type": "string", "maxLength": 10**9}, "minItems": 10**5},
        {"type": "object", "properties": {f"p{i}": {} for i in range(3000)}},
        {"enum": [f"{'x' * 50}{i}" for i in range(5000)]},
    ],
)
def test_a_hostile_schema_harms_no_other_request(server: ServerProcess, schema: Any) -> None:
    status, document = _chat(server, response_format=_format(schema, strict=False), max_tokens=8)
    assert status in (200, 400), document
    assert _chat(server, max_tokens=2)[0] == 200
