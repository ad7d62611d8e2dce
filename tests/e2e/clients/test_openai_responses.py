"""The Responses API of OpenAI's Python client against a running server."""

import json
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pydantic
import pytest
from openai import OpenAI

from tests.support.client_server import (
    ANSWER_SCHEMA,
    ENDLESS,
    FUNCTION,
    QUESTION,
    SUNNY,
    full_queue,
    is_idle,
    n_cancelled,
)
from tests.support.server_process import TINY, ServerProcess, until

pytestmark = pytest.mark.e2e

_TOOL: dict[str, Any] = {"type": "function", **FUNCTION}
_NAMED = {"type": "function", "name": FUNCTION["name"]}
_ALLOWED = {"type": "allowed_tools", "mode": "required", "tools": [_NAMED]}
_CAPITAL = "What is the capital of France?"
_PARIS = "The capital of France is Paris."


class Colour(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    colour: Literal["red", "blue"]


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[OpenAI]:
    base_url = f"http://127.0.0.1:{server.port}/v1"
    with OpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        yield client


def _create(client: OpenAI, said: Any, **more: Any) -> Any:
    fields: dict[str, Any] = {"model": TINY, "temperature": 0, "input": said} | more
    return client.responses.create(**fields)


def test_a_question_is_answered_and_counted(client: OpenAI) -> None:
    response = _create(client, _CAPITAL, metadata={"who": "me"})
    assert response.output_text == _PARIS
    assert (response.status, response.metadata) == ("completed", {"who": "me"})
    usage = response.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.input_tokens_details.cached_tokens < usage.input_tokens
    counted = client.responses.input_tokens.count(model=TINY, input=_CAPITAL)
    assert counted.input_tokens == usage.input_tokens


def test_a_stream_adds_up_to_the_answer(client: OpenAI) -> None:
    events = list(_create(client, _CAPITAL, stream=True))
    kinds = [event.type for event in events]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 1
    assert "".join(deltas) == events[-1].response.output_text == _PARIS
    assert events[-1].response.usage.output_tokens > 0


def test_the_clients_stream_helper_accepts_every_event(client: OpenAI) -> None:
    fields: dict[str, Any] = {"tools": [_TOOL], "tool_choice": "required", "temperature": 0}
    with client.responses.stream(model=TINY, input=QUESTION, **fields) as stream:
        snapshots = [
            event.snapshot
            for event in stream
            if event.type == "response.function_call_arguments.delta"
        ]
        final = stream.get_final_response()
    [call] = final.output
    assert call.type == "function_call"
    assert snapshots[-1] == call.arguments
    assert json.loads(call.arguments) == {"city": "Paris"}


@pytest.mark.parametrize("choice", ["auto", "required", _NAMED, _ALLOWED])
def test_a_tool_is_called_and_its_result_is_used(client: OpenAI, choice: Any) -> None:
    question = {"role": "user", "content": QUESTION}
    first = _create(client, [question], tools=[_TOOL], tool_choice=choice)
    [call] = first.output
    assert (call.type, call.name) == ("function_call", "get_weather")
    assert json.loads(call.arguments) == {"city": "Paris"}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": SUNNY}
    final = _create(client, [question, *first.output, result], tools=[_TOOL])
    assert final.status == "completed"
    assert "sunny" in final.output_text


def test_an_answer_follows_its_schema(client: OpenAI) -> None:
    form = {"type": "json_schema", "name": "colour", "strict": True, "schema": ANSWER_SCHEMA}
    response = _create(client, "hello", text={"format": form}, max_output_tokens=200)
    assert json.loads(response.output_text)["colour"] in ("red", "blue")
    parsed = client.responses.parse(model=TINY, input="hello", text_format=Colour)
    assert parsed.output_parsed is not None
    assert parsed.output_parsed.colour in ("red", "blue")


def test_log_probabilities_cover_the_answer(client: OpenAI) -> None:
    response = _create(client, "hello", top_logprobs=2, include=["message.output_text.logprobs"])
    [part] = response.output[0].content
    assert b"".join(bytes(entry.bytes) for entry in part.logprobs).decode() == part.text
    assert all(entry.top_logprobs[0].logprob == entry.logprob <= 0 for entry in part.logprobs)


def test_an_answer_that_was_cut_off_is_incomplete(client: OpenAI) -> None:
    response = _create(client, _CAPITAL, max_output_tokens=2)
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.usage.output_tokens == 2


def test_a_tool_call_that_was_cut_off_keeps_its_beginning(client: OpenAI) -> None:
    whole = _create(client, QUESTION, tools=[_TOOL], tool_choice="required")
    limit = whole.usage.output_tokens - 3
    cut = _create(client, QUESTION, tools=[_TOOL], tool_choice="required", max_output_tokens=limit)
    assert cut.status == "incomplete"
    [call] = cut.output
    assert call.status == "incomplete"
    assert whole.output[0].arguments.startswith(call.arguments)
    assert whole.output[0].arguments != call.arguments


def test_errors_raise_the_clients_exceptions(client: OpenAI, server: ServerProcess) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        _create(client, "hello", model="no-such.gguf")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as stored:
        _create(client, "hello", previous_response_id="resp_1")
    assert stored.value.param == "previous_response_id"
    with pytest.raises(openai.BadRequestError) as long:
        _create(client, "hello " * 40_000)
    assert (long.value.code, long.value.param) == ("context_length_exceeded", "input")
    with full_queue(server), pytest.raises(openai.RateLimitError):
        _create(client, "hello", stream=True)


def test_a_stream_that_is_closed_frees_its_slot(client: OpenAI, server: ServerProcess) -> None:
    before = n_cancelled(server)
    with _create(client, "hello", stream=True, extra_body=ENDLESS) as stream:
        next(iter(stream))
        assert server.engine()["running"] == 1
    until(lambda: is_idle(server), "the model is idle")
    until(lambda: n_cancelled(server) == before + 1, "one request was cancelled")
