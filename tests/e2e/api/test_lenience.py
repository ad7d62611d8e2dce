"""Requests without `strict` are answered, with warnings about what is not enforced."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.support.paths import ROOT
from tests.support.server_process import TINY, ServerProcess, all_events

pytestmark = pytest.mark.e2e

_BUNDLED = ROOT / "llamabind" / "models" / TINY
_BARE = "bare.gguf"
_HEADER = "X-Llamabind-Warnings"
_HI = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("first-aid")
    # The bundled model without a template: its key is replaced by another of the same length.
    data = _BUNDLED.read_bytes()
    assert data.count(b"tokenizer.chat_template") == 1
    bare = data.replace(b"tokenizer.chat_template", b"tokenizer.chat_templatX")
    (folder / _BARE).write_bytes(bare)
    with ServerProcess(folder) as process:
        yield process


def _post(server: ServerProcess, path: str, body: Any) -> tuple[int, str, Any]:
    """The status, the warnings header and the body of a response."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=110)) as connection:
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        return response.status, response.headers.get(_HEADER, ""), json.loads(response.read())


def _tool(schema: Any, **more: Any) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {"a": schema},
        "required": ["a"],
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": "f", "parameters": parameters, **more}}


# What cannot be enforced in a tool's arguments; in answers only _BOTH cannot.
_SCHEMAS = [
    ({"type": "string", "pattern": "^\\d+$"}, "pattern"),
    ({"type": "string", "pattern": "^(?=x)y$"}, "pattern"),
    ({"type": "string", "maxLength": 524_288}, "maxLength"),
    ({"type": "string", "enum": None}, "enum"),
    ({"type": "integer", "maximum": 2**63 - 1}, "maximum"),
    ({"$ref": "#/$defs/nothing"}, "$ref"),
    ({"$ref": "#"}, "$ref"),
    ({"type": "array", "items": None}, "items"),
]


_BOTH = [_SCHEMAS[1], _SCHEMAS[3], _SCHEMAS[5], _SCHEMAS[7]]


@pytest.mark.parametrize(("schema", "keyword"), _SCHEMAS)
@pytest.mark.parametrize("choice", ["auto", "required"])
def test_without_strict_a_tool_with_an_unsupported_keyword_is_offered(
    server: ServerProcess, schema: Any, keyword: str, choice: str
) -> None:
    body = {"model": TINY, "messages": _HI, "max_tokens": 8, "tool_choice": choice}
    status, warnings, document = _post(
        server, "/v1/chat/completions", body | {"tools": [_tool(schema)]}
    )
    assert status == 200, document
    assert f"tools[0].function.parameters/properties/a/{keyword} is not enforced" in warnings


@pytest.mark.parametrize(("schema", "keyword"), _SCHEMAS)
def test_with_strict_an_unsupported_keyword_is_a_400_that_names_it(
    server: ServerProcess, schema: Any, keyword: str
) -> None:
    body = {"model": TINY, "messages": _HI, "max_tokens": 8}
    status, _, document = _post(
        server, "/v1/chat/completions", body | {"tools": [_tool(schema, strict=True)]}
    )
    assert status == 400, document
    assert keyword in document["error"]["message"]


@pytest.mark.parametrize(("schema", "keyword"), _BOTH)
def test_a_schema_of_an_answer_is_refused_if_strict_and_relaxed_otherwise(
    server: ServerProcess, schema: Any, keyword: str
) -> None:
    body = {"model": TINY, "messages": _HI, "max_tokens": 8}
    answer = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    status, _, document = _post(server, "/v1/chat/completions", body | {"response_format": answer})
    assert status == 400, document
    assert keyword in document["error"]["message"]
    answer["json_schema"] = {"name": "n", "schema": schema}
    status, warnings, document = _post(
        server, "/v1/chat/completions", body | {"response_format": answer}
    )
    assert status == 200, document
    assert f"json_schema/{keyword} is not enforced" in warnings


def test_the_rest_of_a_schema_is_enforced(server: ServerProcess) -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "number", "not": {"const": 0}},
            "c": {"enum": ["red", "blue"]},
        },
        "required": ["c"],
        "additionalProperties": False,
    }
    body = {"messages": _HI, "max_tokens": 100, "temperature": 0, "json_schema": schema}
    status, warnings, document = _post(server, f"/api/v2/chat/{TINY}", body)
    assert status == 200, document
    assert document["warnings"] == [warnings]
    assert warnings == "json_schema/properties/n/not is not enforced: no grammar can express it"
    assert json.loads(document["choices"][0]["message"]["content"])["c"] in ("red", "blue")
    prompt = {"model": TINY, "prompt": "hi", "n_predict": 4, "json_schema": schema}
    status, again, document = _post(server, "/completion", prompt)
    assert (status, again) == (200, warnings), document


def test_a_stream_begins_with_its_warnings(server: ServerProcess) -> None:
    body = {"messages": _HI, "max_tokens": 4, "tools": [_tool({"type": "string", "format": "uri"})]}
    with server.open(f"/api/v2/chat/{TINY}/stream", body) as response:
        head = response.headers[_HEADER]
        events = all_events(response)
    assert "properties/a/format is not enforced: a grammar cannot express 'uri'" in head
    assert events[0]["warnings"] == [head]
    assert events[-1] == "[DONE]"


def test_thirty_large_tools_are_offered(server: ServerProcess) -> None:
    counted = {"type": "array", "items": {"type": "string", "maxLength": 900}, "maxItems": 900}
    tools = []
    for index in range(30):
        tool = _tool({"type": "object", "properties": {f"p{i}": counted for i in range(4)}})
        tool["function"]["name"] = f"f{index}"
        tools.append(tool)
    body = {"messages": _HI, "max_tokens": 4, "tools": tools}
    server.post(f"/api/v2/models/{TINY}/load", {"n_ctx": 32_768, "n_parallel": 1})
    status, warnings, document = _post(server, f"/api/v2/chat/{TINY}", body)
    assert status == 200, document
    assert len(document["warnings"]) == 30
    assert "the grammar is too large" in warnings
    assert len(warnings) <= 1000


def test_a_model_without_a_chat_template_uses_chatml(server: ServerProcess) -> None:
    body = {"model": _BARE, "messages": _HI, "max_tokens": 8}
    status, warnings, document = _post(server, "/v1/chat/completions", body)
    assert status == 200, document
    assert "no chat template, so conversations are written as ChatML" in warnings
    status, _, rendered = _post(server, "/apply-template", {"model": _BARE, "messages": _HI})
    assert status == 200
    assert rendered["prompt"].startswith("<|im_start|>user\nhi<|im_end|>\n")
    [warning] = server.get(f"/api/v2/models/{_BARE}")["warnings"]
    assert warning.startswith("chat_template: the model has no chat template")
    assert f"{_BARE}: the model has no chat template" in server.log.read_text()
