"""Anthropic's Python client against a running server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic
from anthropic.types import MessageParam, ToolUseBlock

from tests.support.client_server import (
    ANSWER_SCHEMA,
    CITY_SCHEMA,
    ENDLESS,
    QUESTION,
    SUNNY,
    full_queue,
    is_idle,
    n_cancelled,
)
from tests.support.server_process import TINY, ServerProcess, until

pytestmark = pytest.mark.e2e

_TOOL: dict[str, Any] = {
    "name": "get_weather",
    "description": "Get the weather of a city",
    "input_schema": CITY_SCHEMA,
}
_PARIS = "The capital of France is Paris."


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Anthropic]:
    with _client(server) as client:
        yield client


def _client(server: ServerProcess, key: str = "any") -> Anthropic:
    return Anthropic(base_url=f"http://127.0.0.1:{server.port}", api_key=key, max_retries=0)


def _fields(*messages: Any, **more: Any) -> dict[str, Any]:
    fields = {"model": TINY, "max_tokens": 80, "messages": list(messages)}
    return fields | {"extra_body": {"temperature": 0}} | more


def _user(content: Any) -> MessageParam:
    return {"role": "user", "content": content}


def test_a_message_is_answered_and_counted(client: Anthropic) -> None:
    question = _user("What is the capital of France?")
    answer = client.messages.create(**_fields(question))
    assert [block.text for block in answer.content] == [_PARIS]
    assert answer.stop_reason == "end_turn"
    counted = client.messages.count_tokens(model=TINY, messages=[question])
    assert counted.input_tokens == answer.usage.input_tokens + (
        answer.usage.cache_read_input_tokens or 0
    )


def test_a_stream_adds_up_to_the_answer_with_its_usage(client: Anthropic) -> None:
    fields = _fields(_user("What is the capital of France?"))
    whole = client.messages.create(**fields)
    with client.messages.stream(**fields) as stream:
        assert "".join(stream.text_stream) == _PARIS
        final = stream.get_final_message()
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == whole.usage.output_tokens


@pytest.mark.parametrize("choice", [{"type": "auto"}, {"type": "tool", "name": "get_weather"}])
def test_a_tool_is_called_and_its_result_is_used(client: Anthropic, choice: Any) -> None:
    question = _user(QUESTION)
    first = client.messages.create(**_fields(question, tools=[_TOOL], tool_choice=choice))
    assert first.stop_reason == "tool_use"
    call = first.content[-1]
    assert (call.type, call.name, call.input) == ("tool_use", "get_weather", {"city": "Paris"})
    result = _user([{"type": "tool_result", "tool_use_id": call.id, "content": SUNNY}])
    said = {"role": "assistant", "content": first.content}
    final = client.messages.create(**_fields(question, said, result, tools=[_TOOL]))
    assert final.stop_reason == "end_turn"
    assert "sunny" in final.content[0].text


def test_the_client_assembles_a_streamed_tool_call(client: Anthropic) -> None:
    fields = _fields(_user(QUESTION), tools=[_TOOL], tool_choice={"type": "any"})
    with client.messages.stream(**fields) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    call = final.content[-1]
    assert isinstance(call, ToolUseBlock)
    assert json.loads("".join(pieces)) == call.input == {"city": "Paris"}
    assert final.stop_reason == "tool_use"


def test_a_tool_call_that_was_cut_off_is_not_returned(client: Anthropic) -> None:
    tools: dict[str, Any] = {"tools": [_TOOL], "tool_choice": {"type": "any"}}
    whole = client.messages.create(**_fields(_user(QUESTION), **tools))
    limit = whole.usage.output_tokens - 3
    cut = client.messages.create(**_fields(_user(QUESTION), **tools, max_tokens=limit))
    assert (cut.content, cut.stop_reason) == ([], "max_tokens")


def test_an_answer_follows_its_schema(client: Anthropic) -> None:
    config = {"format": {"type": "json_schema", "schema": ANSWER_SCHEMA}}
    answer = client.messages.create(**_fields(_user("hello"), output_config=config, max_tokens=200))
    assert answer.stop_reason == "end_turn"
    assert json.loads(answer.content[0].text)["colour"] in ("red", "blue")


def test_models_are_listed(client: Anthropic) -> None:
    assert TINY in {model.id for model in client.models.list()}


def test_errors_raise_the_clients_exceptions(client: Anthropic, server: ServerProcess) -> None:
    question = _user("hello")
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(**_fields(question, model="no-such.gguf"))
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        client.messages.create(**_fields(question, max_tokens=-1))
    with full_queue(server), pytest.raises(anthropic.RateLimitError):
        client.messages.create(**_fields(question))


def test_a_wrong_key_raises_the_clients_exception(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--api-key", "right") as locked:
        with _client(locked, "wrong") as stranger, pytest.raises(anthropic.AuthenticationError):
            stranger.messages.create(**_fields(_user("hello")))
        with _client(locked, "right") as friend:
            assert friend.messages.create(**_fields(_user("hello"))).content


def test_a_stream_that_is_closed_frees_its_slot(client: Anthropic, server: ServerProcess) -> None:
    before = n_cancelled(server)
    fields = _fields(_user("hello"), max_tokens=30_000, extra_body=ENDLESS)
    with client.messages.stream(**fields) as stream:
        next(iter(stream))
        assert server.engine()["running"] == 1
    until(lambda: is_idle(server), "the model is idle")
    until(lambda: n_cancelled(server) == before + 1, "one request was cancelled")
