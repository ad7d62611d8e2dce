"""The same question in every dialect, with the bundled model."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e

_TOOL_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
_WEATHER = {
    "name": "get_weather",
    "description": "Get the weather of a city",
    "input_schema": _TOOL_SCHEMA,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("models")) as process:
        process.post(f"/api/v2/models/{TINY}/load", {"threads": 1})
        yield process


def _message(server: ServerProcess, *messages: dict[str, Any], **more: Any) -> Any:
    body = {"model": TINY, "max_tokens": 80, "temperature": 0, "messages": list(messages)}
    return server.post("/v1/messages", body | more)


def _user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize("question", ["What is 2 + 3?", "hello", "What is the capital of France?"])
def test_all_dialects_give_the_same_answer_to_a_question(
    server: ServerProcess, question: str
) -> None:
    chat = {"messages": [_user(question)], "temperature": 0, "max_tokens": 80}
    ours = server.post(f"/api/v2/chat/{TINY}", chat)["choices"][0]["message"]["content"]
    assert ours
    openai = server.post("/v1/chat/completions", {"model": TINY} | chat)
    assert openai["choices"][0]["message"]["content"] == ours
    assert _message(server, _user(question))["content"] == [{"type": "text", "text": ours}]
    prompt = server.post("/apply-template", {"model": TINY} | chat)["prompt"]
    continued = {"model": TINY, "prompt": prompt, "temperature": 0, "max_tokens": 80}
    assert server.post("/v1/completions", continued)["choices"][0]["text"] == ours
    assert server.post("/completion", continued)["content"] == ours
    options = {"temperature": 0, "num_predict": 80}
    asked = {"model": "tiny-chat", "stream": False, "options": options}
    reported = server.post("/api/chat", asked | {"messages": chat["messages"]})
    assert reported["message"]["content"] == ours
    assert server.post("/api/generate", asked | {"prompt": question})["response"] == ours
    wanted = {"model": TINY, "input": question, "temperature": 0, "max_output_tokens": 80}
    [item] = server.post("/v1/responses", wanted)["output"]
    assert item["content"][0]["text"] == ours


def test_all_dialects_count_the_same_prompt_tokens(server: ServerProcess) -> None:
    said = "What is 2 + 3?"
    chat = {"model": TINY, "messages": [_user(said)]}
    usage = server.post("/v1/chat/completions", chat | {"max_tokens": 1})["usage"]
    counted = (
        server.post("/v1/chat/completions/input_tokens", chat),
        server.post("/v1/messages/count_tokens", chat),
        server.post("/v1/responses/input_tokens", {"model": TINY, "input": said}),
    )
    assert [count["input_tokens"] for count in counted] == [usage["prompt_tokens"]] * 3


def test_anthropics_count_tokens_equals_the_usage(server: ServerProcess) -> None:
    question = {"messages": [_user("What is 2 + 3?")], "system": "Be brief."}
    counted = server.post("/v1/messages/count_tokens", {"model": TINY} | question)
    usage = server.post("/v1/messages", {"model": TINY, "max_tokens": 1} | question)["usage"]
    assert counted["input_tokens"] == usage["input_tokens"] + usage["cache_read_input_tokens"]


def test_a_tool_is_called_and_its_result_is_used(server: ServerProcess) -> None:
    question = _user("What is the weather in Paris?")
    first = _message(server, question, tools=[_WEATHER])
    assert first["stop_reason"] == "tool_use"
    call = first["content"][-1]
    assert (call["name"], call["input"]) == ("get_weather", {"city": "Paris"})
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": '{"weather": "sunny"}'}
    history = [question, {"role": "assistant", "content": first["content"]}, _user([result])]
    final = _message(server, *history, tools=[_WEATHER])
    assert final["stop_reason"] == "end_turn"
    assert "sunny" in final["content"][0]["text"]


def test_the_stop_reason_is_reported(server: ServerProcess) -> None:
    whole = _message(server, _user("hello"))["content"][0]["text"]
    word = whole.split()[1]
    stopped = _message(server, _user("hello"), stop_sequences=[word])
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", word)
    assert stopped["content"][0]["text"] == whole[: whole.index(word)]


def test_an_answer_follows_its_schema(server: ServerProcess) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [7]}}, "required": ["n"]}
    config = {"format": {"type": "json_schema", "schema": schema}}
    text = _message(server, _user("hello"), output_config=config)["content"][0]["text"]
    assert text.replace(" ", "").replace("\n", "") == '{"n":7}'
