"""Several tool calls in an answer, and errors in mid-stream, through the real clients."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import ollama
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.support.client_server import QUESTION, SUNNY
from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e

# Strings that the tiny model writes may never end.
_CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Oslo"]}},
    "required": ["city"],
    "additionalProperties": False,
}
_FUNCTION: dict[str, Any] = {"name": "get_weather", "parameters": _CITY}
_TOOL: dict[str, Any] = {"type": "function", "function": _FUNCTION}
_GREEDY = {"temperature": 0}
# The model would end after one call; forbidden to end and forced to call, it calls again.
_SEVERAL = _GREEDY | {"min_tokens": 150}
# The grammar requires tokens that the bias bans.
_BANNED = [["n", False], ["no", False]]
_FAILING: dict[str, Any] = {"grammar": 'root ::= "yes" "no"', "logit_bias": _BANNED}
_QUESTION = {"role": "user", "content": QUESTION}


@pytest.fixture(scope="module")
def openai_client(server: ServerProcess) -> Iterator[OpenAI]:
    base_url = f"http://127.0.0.1:{server.port}/v1"
    with OpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def anthropic_client(server: ServerProcess) -> Iterator[Anthropic]:
    base_url = f"http://127.0.0.1:{server.port}"
    with Anthropic(base_url=base_url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def ollama_client(server: ServerProcess) -> Iterator[ollama.Client]:
    with ollama.Client(host=f"http://127.0.0.1:{server.port}") as client:
        yield client


def _openai_fields(**more: Any) -> dict[str, Any]:
    return {"model": TINY, "messages": [_QUESTION], "max_tokens": 600} | more


def _anthropic_fields(**more: Any) -> dict[str, Any]:
    tool = {"name": "get_weather", "input_schema": _CITY}
    return _openai_fields(tools=[tool]) | more


def _are_calls(calls: list[tuple[str, Any]]) -> bool:
    """Whether these are at least two complete calls."""
    whole = all(name == "get_weather" and arguments["city"] for name, arguments in calls)
    return whole and len(calls) > 1


def test_openais_client_gets_several_calls_and_returns_each_result(openai_client: OpenAI) -> None:
    fields = _openai_fields(tools=[_TOOL], tool_choice="required", extra_body=_SEVERAL)
    first = openai_client.chat.completions.create(**fields).choices[0]
    assert first.finish_reason == "tool_calls"
    calls = first.message.tool_calls
    assert _are_calls([(one.function.name, json.loads(one.function.arguments)) for one in calls])
    assert len({call.id for call in calls}) == len(calls)
    results = [{"role": "tool", "tool_call_id": one.id, "content": SUNNY} for one in calls]
    fields |= {"messages": [_QUESTION, first.message, *results], "tool_choice": "none"}
    final = openai_client.chat.completions.create(**(fields | {"extra_body": _GREEDY}))
    assert final.choices[0].finish_reason == "stop"
    assert not final.choices[0].message.tool_calls


def test_openais_client_assembles_several_streamed_calls(openai_client: OpenAI) -> None:
    fields = _openai_fields(tools=[_TOOL], tool_choice="required", extra_body=_SEVERAL)
    whole = openai_client.chat.completions.create(**fields).choices[0].message.tool_calls
    with openai_client.chat.completions.stream(**fields) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_completion().choices[0].message
    streamed = [one.function for one in message.tool_calls or ()]
    assert [one.arguments for one in streamed] == [one.function.arguments for one in whole]
    assert kinds.count("tool_calls.function.arguments.done") == len(whole) > 1


def test_anthropics_client_gets_several_calls_whole_and_streamed(
    anthropic_client: Anthropic,
) -> None:
    fields = _anthropic_fields(tool_choice={"type": "any"}, extra_body=_SEVERAL)
    whole = anthropic_client.messages.create(**fields)
    assert whole.stop_reason == "tool_use"
    calls = [block for block in whole.content if block.type == "tool_use"]
    assert _are_calls([(block.name, block.input) for block in calls])
    with anthropic_client.messages.stream(**fields) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    streamed = [block.input for block in final.content if block.type == "tool_use"]
    assert streamed == [block.input for block in calls]


def test_a_call_that_the_model_chose_is_streamed_to_openais_client(openai_client: OpenAI) -> None:
    fields = _openai_fields(tools=[_TOOL], tool_choice="auto", extra_body=_GREEDY, stream=True)
    chunks = list(openai_client.chat.completions.create(**fields))
    pieces = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert [piece.function.name for piece in pieces if piece.id] == ["get_weather"]
    arguments = "".join(piece.function.arguments or "" for piece in pieces)
    assert json.loads(arguments) == {"city": "Paris"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_a_call_that_the_model_chose_is_streamed_to_anthropics_client(
    anthropic_client: Anthropic,
) -> None:
    fields = _anthropic_fields(tool_choice={"type": "auto"}, extra_body=_GREEDY)
    with anthropic_client.messages.stream(**fields) as stream:
        final = stream.get_final_message()
    [call] = [block for block in final.content if block.type == "tool_use"]
    assert (call.name, call.input) == ("get_weather", {"city": "Paris"})
    assert final.stop_reason == "tool_use"


def test_openais_client_raises_for_an_error_in_mid_stream(openai_client: OpenAI) -> None:
    said: list[str] = []
    stream = openai_client.chat.completions.create(
        **_openai_fields(stream=True, extra_body=_FAILING)
    )
    with pytest.raises(openai.APIError) as failure:
        said.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(said) == "yes"
    assert failure.value.code == "grammar_dead_end"


def test_openais_client_gets_response_failed_in_mid_stream(openai_client: OpenAI) -> None:
    stream = openai_client.responses.create(
        model=TINY, input=QUESTION, stream=True, extra_body=_FAILING
    )
    events = list(stream)
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1]
    assert said == "yes"
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert str(last.response.error.code) == "grammar_dead_end"


def test_anthropics_client_raises_for_an_error_in_mid_stream(anthropic_client: Anthropic) -> None:
    said: list[str] = []
    stream = anthropic_client.messages.create(**_openai_fields(stream=True, extra_body=_FAILING))
    with pytest.raises(anthropic.APIError) as failure:
        said.extend(event.delta.text for event in stream if event.type == "content_block_delta")
    assert "".join(said) == "yes"
    assert "grammar" in str(failure.value)


def test_ollamas_client_raises_for_an_error_in_mid_stream(ollama_client: ollama.Client) -> None:
    said: list[str] = []
    stream = ollama_client.chat(model=TINY, messages=[_QUESTION], options=_FAILING, stream=True)
    with pytest.raises(ollama.ResponseError, match="grammar"):
        said.extend(line.message.content or "" for line in stream)
    assert "".join(said) == "yes"


@pytest.mark.parametrize("stop", [" is", "capital of Fr", "."])
def test_log_probabilities_end_at_the_stop_string(openai_client: OpenAI, stop: str) -> None:
    fields = _openai_fields(stop=stop, logprobs=True, temperature=0)
    fields["messages"] = [{"role": "user", "content": "What is the capital of France?"}]
    choice = openai_client.chat.completions.create(**fields).choices[0]
    assert "The capital of France is Paris.".startswith(choice.message.content)
    reported = [bytes(entry.bytes).decode() for entry in choice.logprobs.content]
    # The token in which the stop string begins may start with text before it.
    assert "".join(reported).startswith(choice.message.content)
    assert len("".join(reported[:-1])) < len(choice.message.content)
    chunks = list(openai_client.chat.completions.create(**fields, stream=True))
    streamed = [chunk.choices[0].logprobs for chunk in chunks if chunk.choices[0].logprobs]
    pieces = [bytes(entry.bytes).decode() for one in streamed for entry in one.content]
    assert pieces == reported
