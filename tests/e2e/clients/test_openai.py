"""OpenAI's Python client against a running server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.support.client_server import (
    ANSWER_SCHEMA,
    ENDLESS,
    FUNCTION,
    QUESTION,
    SUNNY,
    VECTORS,
    full_queue,
    is_idle,
    n_cancelled,
)
from tests.support.server_process import TINY, ServerProcess, until

pytestmark = pytest.mark.e2e

_TOOL: dict[str, Any] = {"type": "function", "function": FUNCTION}
_NAMED = {"type": "function", "function": {"name": FUNCTION["name"]}}
_ALLOWED = {
    "type": "allowed_tools",
    "allowed_tools": {"mode": "required", "tools": [_NAMED]},
}
_PARIS = "The capital of France is Paris."


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[OpenAI]:
    with _client(server) as client:
        yield client


def _client(server: ServerProcess, key: str = "any") -> OpenAI:
    base_url = f"http://127.0.0.1:{server.port}/v1"
    return OpenAI(base_url=base_url, api_key=key, max_retries=0)


def _chat(client: OpenAI, *messages: Any, **more: Any) -> Any:
    fields: dict[str, Any] = {"model": TINY, "temperature": 0, "messages": list(messages)} | more
    return client.chat.completions.create(**fields)


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_a_chat_is_answered_and_counted(client: OpenAI) -> None:
    answer = _chat(client, _user("What is the capital of France?"))
    assert answer.choices[0].message.content == _PARIS
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details.cached_tokens < answer.usage.prompt_tokens


def test_a_stream_adds_up_to_the_answer_and_ends_with_its_usage(client: OpenAI) -> None:
    question = _user("What is the capital of France?")
    whole = _chat(client, question)
    chunks = list(_chat(client, question, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


@pytest.mark.parametrize("choice", ["auto", "required", _NAMED, _ALLOWED])
def test_a_tool_is_called_and_its_result_is_used(client: OpenAI, choice: Any) -> None:
    question = _user(QUESTION)
    first = _chat(client, question, tools=[_TOOL], tool_choice=choice).choices[0]
    assert first.finish_reason == "tool_calls"
    [call] = first.message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    result = {"role": "tool", "tool_call_id": call.id, "content": SUNNY}
    final = _chat(client, question, first.message, result, tools=[_TOOL]).choices[0]
    assert final.finish_reason == "stop"
    assert "sunny" in final.message.content


def test_the_clients_stream_helper_assembles_a_tool_call(client: OpenAI) -> None:
    fields: dict[str, Any] = {"messages": [_user(QUESTION)], "tools": [_TOOL], "temperature": 0}
    with client.chat.completions.stream(model=TINY, tool_choice="required", **fields) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds
    [call] = final.choices[0].message.tool_calls or []
    assert json.loads(call.function.arguments) == {"city": "Paris"}


def test_an_answer_follows_its_schema(client: OpenAI) -> None:
    schema = {"name": "colour", "strict": True, "schema": ANSWER_SCHEMA}
    response_format = {"type": "json_schema", "json_schema": schema}
    answer = _chat(client, _user("hello"), response_format=response_format, max_tokens=200)
    choice = answer.choices[0]
    assert choice.finish_reason == "stop"
    assert json.loads(choice.message.content)["colour"] in ("red", "blue")


def test_log_probabilities_cover_the_answer(client: OpenAI) -> None:
    answer = _chat(client, _user("hello"), logprobs=True, top_logprobs=2)
    entries = answer.choices[0].logprobs.content
    assert b"".join(bytes(entry.bytes) for entry in entries).decode() == (
        answer.choices[0].message.content
    )
    assert all(entry.top_logprobs[0].logprob == entry.logprob <= 0 for entry in entries)


def test_a_prompt_is_completed_whole_and_streamed(client: OpenAI) -> None:
    fields: dict[str, Any] = {"prompt": "hello", "max_tokens": 5, "temperature": 0}
    whole = client.completions.create(model=TINY, **fields).choices[0].text
    stream = client.completions.create(model=TINY, stream=True, **fields)
    assert "".join(chunk.choices[0].text for chunk in stream) == whole


def test_several_prompts_are_streamed_at_once_with_log_probabilities(client: OpenAI) -> None:
    prompts = ["One, two,", "Once upon a time"]
    fields: dict[str, Any] = {"model": TINY, "prompt": prompts, "temperature": 0, "max_tokens": 6}
    whole = client.completions.create(**fields, echo=True, logprobs=1)
    texts = ["", ""]
    for chunk in client.completions.create(**fields, echo=True, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    for text, choice, prompt in zip(texts, whole.choices, prompts, strict=True):
        assert text == choice.text
        assert text.startswith(prompt)
        told = choice.logprobs
        assert told is not None
        assert "".join(told.tokens or []) == text
        assert (told.token_logprobs or [])[0] is None
        assert all(number < 0 for number in (told.token_logprobs or [])[1:])


def test_texts_are_embedded(client: OpenAI) -> None:
    # Without encoding_format the client requests base64 and decodes it.
    inputs = ["one", "two"]
    coded = client.embeddings.create(model=VECTORS, input=inputs)
    plain = client.embeddings.create(model=VECTORS, input=inputs, encoding_format="float")
    for one, other in zip(coded.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-4)
    assert coded.usage.prompt_tokens > 0


def test_models_are_listed_and_shown(client: OpenAI) -> None:
    assert {TINY, VECTORS} <= {model.id for model in client.models.list()}
    assert client.models.retrieve(TINY).object == "model"


def test_errors_raise_the_clients_exceptions(client: OpenAI, server: ServerProcess) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        _chat(client, _user("hello"), model="no-such.gguf")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such.gguf")
    with pytest.raises(openai.BadRequestError) as wrong:
        _chat(client, _user("hello"), temperature=-1)
    assert wrong.value.param == "temperature"
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model=TINY, input=[10**6])
    with full_queue(server), pytest.raises(openai.RateLimitError):
        _chat(client, _user("hello"))


def test_a_wrong_key_raises_the_clients_exception(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--api-key", "right") as locked:
        with _client(locked, "wrong") as stranger, pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        with _client(locked, "right") as friend:
            assert TINY in {model.id for model in friend.models.list()}


def test_a_stream_that_is_closed_frees_its_slot(client: OpenAI, server: ServerProcess) -> None:
    before = n_cancelled(server)
    with _chat(client, _user("hello"), stream=True, extra_body=ENDLESS) as stream:
        next(iter(stream))
        assert server.engine()["running"] == 1
    until(lambda: is_idle(server), "the model is idle")
    until(lambda: n_cancelled(server) == before + 1, "one request was cancelled")
