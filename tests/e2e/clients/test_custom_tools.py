"""Custom tools and namespaces by the openai SDK: calls come back in the form of their tool."""

import re
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e

_PATTERN = "[a-c]{1,3}"
_FORM = {"type": "grammar", "syntax": "regex", "definition": _PATTERN}
_PATCH = {"type": "custom", "name": "patch", "description": "Patches.", "format": _FORM}
_CLOSE = {
    "type": "function",
    "name": "close",
    "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
}
_AGENTS = {"type": "namespace", "name": "agents", "description": "Agents.", "tools": [_CLOSE]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("custom")) as process:
        yield process


@pytest.fixture
def client(server: ServerProcess) -> Iterator[openai.OpenAI]:
    url = f"http://127.0.0.1:{server.port}/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as opened:
        yield opened


def _fields(**more: Any) -> Any:
    return {"model": TINY, "temperature": 0, "parallel_tool_calls": False, **more}


def test_a_custom_call_of_a_response(client: openai.OpenAI) -> None:
    fields = _fields(input="hi", tools=[_PATCH], tool_choice={"type": "custom", "name": "patch"})
    events = list(client.responses.create(**fields, stream=True))
    added = next(event.item for event in events if event.type == "response.output_item.added")
    assert (added.type, added.name, added.input) == ("custom_tool_call", "patch", "")
    deltas = [
        event.delta for event in events if event.type == "response.custom_tool_call_input.delta"
    ]
    [done] = [event for event in events if event.type == "response.custom_tool_call_input.done"]
    assert done.input == "".join(deltas)
    assert re.fullmatch(_PATTERN, done.input)
    [item] = events[-1].response.output
    assert (item.type, item.name, item.input) == ("custom_tool_call", "patch", done.input)
    assert item.call_id == added.call_id
    whole = client.responses.create(**fields)
    assert whole.output[0].input == done.input
    assert [tool.type for tool in whole.tools] == ["custom"]
    result = {"type": "custom_tool_call_output", "call_id": item.call_id, "output": "ok"}
    history = [{"role": "user", "content": "hi"}, item.model_dump(exclude_none=True), result]
    after = client.responses.create(**_fields(input=history, tools=[_PATCH], max_output_tokens=16))
    assert after.usage is not None
    assert after.usage.input_tokens_details.cache_write_tokens == 0


def test_a_call_of_a_namespace_names_it(client: openai.OpenAI) -> None:
    fields = _fields(input="hi", tools=[_AGENTS], tool_choice="required")
    events = list(client.responses.create(**fields, stream=True))
    [item] = events[-1].response.output
    assert (item.type, item.name, item.namespace) == ("function_call", "close", "agents")
    assert [tool.type for tool in events[-1].response.tools] == ["namespace"]


def test_a_custom_call_of_a_chat(client: openai.OpenAI) -> None:
    grammar = {"syntax": "regex", "definition": _PATTERN}
    tool = {
        "type": "custom",
        "custom": {"name": "patch", "format": {"type": "grammar", "grammar": grammar}},
    }
    fields = _fields(
        messages=[{"role": "user", "content": "hi"}],
        tools=[tool],
        tool_choice={"type": "custom", "custom": {"name": "patch"}},
    )
    calls: Any = client.chat.completions.create(**fields).choices[0].message.tool_calls
    [call] = calls
    assert call.type == "custom"
    assert call.custom.name == "patch"
    assert re.fullmatch(_PATTERN, call.custom.input)
    pieces: list[Any] = []
    for chunk in client.chat.completions.create(**fields, stream=True):
        pieces += (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []
    assert (pieces[0].type, pieces[0].custom["name"]) == ("custom", "patch")
    assert "".join(piece.custom["input"] for piece in pieces) == call.custom.input
    history = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "ok"},
    ]
    after = client.chat.completions.create(**_fields(messages=history, max_tokens=8))
    assert after.usage is not None


def test_the_anthropic_sdk_reads_why_a_thread_is_refused(server: ServerProcess) -> None:
    url = f"http://127.0.0.1:{server.port}"
    with (
        anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client,
        pytest.raises(anthropic.BadRequestError) as refused,
    ):
        client.messages.create(
            model=TINY,
            max_tokens=8,
            messages=[{"role": "user", "content": "hi"}],
            extra_body={"thread": {"type": "create"}},
        )
    body: Any = refused.value.body
    assert body["error"]["details"]["error_code"] == "thread_unsupported_request"
