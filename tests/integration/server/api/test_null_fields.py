"""A field that is null is absent: every optional field of every request, as far down as it goes."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect
from pytest_aiohttp.plugin import AiohttpClient

from server.api.operations import OPERATIONS
from tests.support.field_tables import Endpoint
from tests.support.gguf_files import write_gguf
from tests.support.server_app import make_app

_FUNCTION = {"name": "f", "parameters": {"type": "object"}}
_CALL = {"function": {"name": "f"}}
_CHAT = {
    "model": "m.gguf",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "go"}]},
        {"role": "assistant", "content": "", "tool_calls": [_CALL]},
        {"role": "tool", "content": "42"},
        {"role": "user", "content": "echo: a b"},
    ],
    "tools": [{"function": _FUNCTION}, {"function": {"name": "g"}}],
    "tool_choice": {"function": {"name": "f"}},
    "response_format": {"type": "text"},
    "stream_options": {},
}
_ALLOWED = {"mode": "auto", "tools": [{"function": {"name": "g"}}]}
_RESPONSE = {
    "model": "m.gguf",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "go"}]},
        {"type": "function_call", "call_id": "1", "name": "f"},
        {"type": "function_call_output", "call_id": "1", "output": "42"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"role": "user", "content": "echo: a b"},
    ],
    "tools": [{"name": "f"}],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"name": "f"}]},
    "text": {"format": {"type": "text"}},
    "reasoning": {},
}
_MESSAGES = {
    "model": "m.gguf",
    "max_tokens": 5,
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "go"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "redacted_thinking"},
                {"type": "tool_use", "id": "1", "name": "f", "input": {}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1"}]},
        {"role": "user", "content": "echo: a b"},
    ],
    "tools": [{"name": "f", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "disabled"},
    "output_config": {},
}
_OLLAMA = {
    "model": "m.gguf",
    "stream": False,
    "messages": [
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
        {"role": "user", "content": "echo: a b"},
    ],
    "tools": [{"function": _FUNCTION}],
    "options": {},
}
_TEXT = {"model": "m.gguf", "prompt": "echo: a b"}
_GAP = {"model": "m.gguf", "input_prefix": "echo: a", "input_suffix": "c"}
_BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/api/v2/chat/m.gguf", _CHAT),
    ("/v1/chat/completions", _CHAT),
    (
        "/v1/chat/completions",
        _CHAT | {"tool_choice": {"type": "allowed_tools"} | {"allowed_tools": _ALLOWED}},
    ),
    ("/v1/responses", _RESPONSE),
    ("/v1/responses/input_tokens", _RESPONSE),
    ("/v1/completions", _TEXT),
    ("/completion", _TEXT),
    ("/v1/embeddings", {"model": "m.gguf", "input": "a"}),
    ("/embedding", {"model": "m.gguf", "content": "a"}),
    ("/v1/rerank", {"model": "m.gguf", "query": "a", "documents": ["a", "bc"]}),
    ("/tokenize", {"model": "m.gguf", "content": "a b"}),
    ("/detokenize", {"model": "m.gguf", "tokens": [1]}),
    ("/apply-template", _CHAT),
    ("/v1/messages", _MESSAGES),
    ("/v1/messages/count_tokens", _MESSAGES),
    ("/api/chat", _OLLAMA),
    ("/api/generate", _TEXT | {"stream": False}),
    ("/api/embed", {"model": "m.gguf", "input": "a"}),
    ("/api/show", {"model": "m.gguf"}),
    ("/api/v2/models/m.gguf/load", {}),
]
_VOLATILE = ("id", "created", "timings", "duration", "time", "created_at", "completed_at")


def _filled(kind: inspect.Type, value: Any) -> Any:
    """A request with null for every field that it leaves out."""
    match kind:
        case inspect.Metadata(type=inner):
            return _filled(inner, value)
        case inspect.UnionType(types=types):
            return _filled(_chosen(types, value), value)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return [_filled(item, one) for one in value]
        case inspect.StructType(fields=fields):
            known = {one.encode_name: one.type for one in fields}
            given = {
                name: _filled(known[name], one) for name, one in value.items() if name in known
            }
            tag = {name: one for name, one in value.items() if name not in known}
            return dict.fromkeys(known) | given | tag
        case _:
            return value


def _chosen(types: tuple[inspect.Type, ...], value: Any) -> inspect.Type:
    """The one of several types that a value has."""
    if isinstance(value, list):
        kinds: Any = inspect.ListType | inspect.VarTupleType
        return next(one for one in types if isinstance(one, kinds))
    structs = [one for one in types if isinstance(one, inspect.StructType)]
    if not isinstance(value, dict) or not structs:
        return inspect.AnyType()
    tagged = [one for one in structs if one.tag is None or one.tag == value.get(one.tag_field)]
    return tagged[0]


def _steady(value: Any) -> Any:
    """An answer without the fields that differ each time."""
    if isinstance(value, list):
        return [_steady(item) for item in value]
    if isinstance(value, dict):
        return {
            key: _steady(item)
            for key, item in value.items()
            if not key.endswith(_VOLATILE) and item is not None
        }
    return value


@pytest.mark.parametrize(("path", "body"), _BODIES, ids=lambda value: str(value)[:40])
async def test_nulls_change_nothing(
    aiohttp_client: AiohttpClient, tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path))
    kind = OPERATIONS["POST", path.replace("/m.gguf", "/{model_id}")].body
    nulls = _filled(inspect.type_info(kind), body)
    answers = []
    for document in (body, nulls):
        response = await client.post(path, json=document)
        answers.append(_steady(await response.json()))
        assert response.status == 200, answers[-1]
    assert answers[0] == answers[1]


def _structs(kind: inspect.Type, known: dict[type, inspect.StructType]) -> None:
    """Every struct in a type."""
    match kind:
        case inspect.Metadata(type=inner) | inspect.ListType(item_type=inner):
            _structs(inner, known)
        case inspect.VarTupleType(item_type=inner):
            _structs(inner, known)
        case inspect.UnionType(types=types):
            for inner in types:
                _structs(inner, known)
        case inspect.StructType(cls=cls, fields=fields) if cls not in known:
            known[cls] = kind
            for one in fields:
                _structs(one.type, known)


@pytest.mark.parametrize(
    "endpoint", [key for key, one in OPERATIONS.items() if one.body is not None], ids=" ".join
)
def test_every_optional_field_takes_null(endpoint: Endpoint) -> None:
    known: dict[type, inspect.StructType] = {}
    _structs(inspect.type_info(OPERATIONS[endpoint].body), known)
    for struct in known:
        hints = {one.encode_name: one for one in msgspec.structs.fields(struct)}
        for name, one in hints.items():
            if not one.required:
                assert msgspec.convert(None, one.type) is None, f"{struct.__qualname__}.{name}"
