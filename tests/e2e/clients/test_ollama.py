"""Ollama's Python client against a running server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import pytest
from ollama import Client

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

_MODEL = TINY.removesuffix(".gguf")
_TOOL: dict[str, Any] = {"type": "function", "function": FUNCTION}
_GREEDY = {"temperature": 0}
_PARIS = "The capital of France is Paris."


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with _client(server) as client:
        yield client


def _client(server: ServerProcess, **headers: str) -> Client:
    return Client(host=f"http://127.0.0.1:{server.port}", headers=headers)


def _chat(client: Client, *messages: Any, **more: Any) -> Any:
    fields: dict[str, Any] = {"model": _MODEL, "messages": list(messages), "options": _GREEDY}
    return client.chat(**(fields | more))


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_a_chat_is_answered_and_counted(client: Client) -> None:
    answer = _chat(client, _user("What is the capital of France?"))
    assert answer.message.content == _PARIS
    assert (answer.done, answer.done_reason) == (True, "stop")
    assert answer.prompt_eval_count > 0
    assert answer.eval_count > 0


def test_a_stream_adds_up_to_the_answer_with_its_counts(client: Client) -> None:
    question = _user("What is the capital of France?")
    lines = list(_chat(client, question, stream=True))
    assert "".join(line.message.content for line in lines) == _PARIS
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1].eval_count == _chat(client, question).eval_count


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_is_used(client: Client, stream: bool) -> None:
    question = _user(QUESTION)
    answer = _chat(client, question, tools=[_TOOL], stream=stream)
    parts = list(answer) if stream else [answer]
    [said] = [part.message for part in parts if part.message.tool_calls]
    [call] = said.tool_calls
    assert (call.function.name, call.function.arguments) == ("get_weather", {"city": "Paris"})
    result = {"role": "tool", "tool_name": "get_weather", "content": SUNNY}
    final = _chat(client, question, said, result, tools=[_TOOL])
    assert "sunny" in final.message.content


def test_an_answer_follows_its_schema(client: Client) -> None:
    answer = _chat(client, _user("hello"), format=ANSWER_SCHEMA)
    assert answer.done_reason == "stop"
    assert json.loads(answer.message.content)["colour"] in ("red", "blue")


def test_a_prompt_is_completed_whole_and_streamed(client: Client) -> None:
    fields: dict[str, Any] = {"model": _MODEL, "options": _GREEDY}
    question = "What is the capital of France?"
    assert client.generate(prompt=question, **fields).response == _PARIS
    stream = client.generate(prompt=question, stream=True, **fields)
    assert "".join(part.response or "" for part in stream) == _PARIS


def test_texts_are_embedded(client: Client) -> None:
    both = client.embed(model=VECTORS, input=["one", "two"]).embeddings
    one = client.embed(model=VECTORS, input="one").embeddings
    assert len(both) == 2
    assert list(one[0]) == pytest.approx(list(both[0]), abs=1e-3)


def test_an_input_that_is_too_long_is_cut_off_unless_truncate_is_false(client: Client) -> None:
    text = "word " * 10_000
    whole = client.embed(model=VECTORS, input=text)
    assert 0 < (whole.prompt_eval_count or 0) < 10_000
    assert whole.load_duration is not None
    with pytest.raises(ollama.ResponseError) as refused:
        client.embed(model=VECTORS, input=text, truncate=False)
    assert refused.value.status_code == 400


def test_the_older_form_gives_the_same_vector_unscaled(client: Client) -> None:
    raw = client.embeddings(model=VECTORS, prompt="one").embedding
    length = sum(number * number for number in raw) ** 0.5
    one = client.embed(model=VECTORS, input="one").embeddings[0]
    assert [number / length for number in raw] == pytest.approx(list(one), abs=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"repeat_last_n": -1, "repeat_penalty": 1.0},
        {"num_ctx": 1 << 20, "num_gpu": 1, "no_such_option": True},
        {"seed": 2**53 - 1, "num_predict": 64.0},
        {"stop": [f"<stop{number}>" for number in range(100)]},
        {"logit_bias": {"1000000": -100}},
    ],
)
def test_no_option_is_a_reason_to_refuse(client: Client, options: dict[str, Any]) -> None:
    answer = _chat(client, _user("What is the capital of France?"), options=_GREEDY | options)
    assert answer.message.content == _PARIS


def test_models_are_listed_and_shown(client: Client) -> None:
    assert {TINY, VECTORS} <= {model.model for model in client.list().models}
    assert {TINY, VECTORS} == {model.model for model in client.ps().models}
    assert all(len(model.digest or "") == 64 for model in client.list().models)
    shown = client.show(_MODEL)
    assert shown.capabilities == ["completion", "tools"]
    assert "num_ctx" in (shown.parameters or "")
    assert "FROM tiny-chat.gguf" in (shown.modelfile or "")
    assert client.show(VECTORS).capabilities == ["embedding"]


def test_a_tool_call_that_was_cut_off_is_not_returned(client: Client) -> None:
    whole = _chat(client, _user(QUESTION), tools=[_TOOL])
    limit = {"num_predict": whole.eval_count - 3}
    cut = _chat(client, _user(QUESTION), tools=[_TOOL], options=_GREEDY | limit)
    assert (cut.message.tool_calls, cut.done_reason) == (None, "length")


def test_keep_alive_zero_unloads_the_model_after_its_answer(client: Client) -> None:
    assert client.embed(model=VECTORS, input="one", keep_alive="1h").embeddings
    assert client.embed(model=VECTORS, input="one", keep_alive=0).embeddings
    until(lambda: {TINY} == {model.model for model in client.ps().models}, "the model is unloaded")


def test_errors_raise_the_clients_exception(client: Client, server: ServerProcess) -> None:
    question = _user("hello")
    with pytest.raises(ollama.ResponseError) as wrong:
        _chat(client, question, options={"temperature": -1})
    assert wrong.value.status_code == 400
    with pytest.raises(ollama.ResponseError) as unknown:
        _chat(client, question, model="no-such")
    assert unknown.value.status_code == 404
    with full_queue(server), pytest.raises(ollama.ResponseError) as crowded:
        _chat(client, question)
    assert crowded.value.status_code == 429


def test_a_wrong_key_raises_the_clients_exception(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--api-key", "right") as locked:
        with _client(locked, authorization="Bearer wrong") as stranger:
            with pytest.raises(ollama.ResponseError) as raised:
                stranger.list()
            assert raised.value.status_code == 401
        with _client(locked, authorization="Bearer right") as friend:
            assert friend.list().models


def test_a_stream_that_is_closed_frees_its_slot(client: Client, server: ServerProcess) -> None:
    before = n_cancelled(server)
    options = {"ignore_eos": True, "num_predict": ENDLESS["n_predict"]}
    stream = _chat(client, _user("hello"), stream=True, options=options)
    next(stream)
    assert server.engine()["running"] == 1
    stream.close()
    until(lambda: is_idle(server), "the model is idle")
    until(lambda: n_cancelled(server) == before + 1, "one request was cancelled")
