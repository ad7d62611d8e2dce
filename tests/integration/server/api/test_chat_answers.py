"""Several answers, tool calls, reasoning and log-probabilities, in both dialects."""

from collections.abc import Iterable
from typing import Any

import pytest

from tests.support.server_app import Client, chat_body, events

CALLING = "echo: <r> hm </r> sure <weather> {} </weather>"


async def _v1(client: Client, text: str, **more: Any) -> Any:
    body = {"model": "m.gguf"} | chat_body(text, **more)
    response = await client.post("/v1/chat/completions", json=body)
    assert response.status == 200, await response.text()
    return await (events(response) if more.get("stream") else response.json())


async def _v2(client: Client, text: str, **more: Any) -> Any:
    response = await client.post("/api/v2/chat/m.gguf", json=chat_body(text, **more))
    assert response.status == 200, await response.text()
    return await response.json()


async def _v2_stream(client: Client, text: str, **more: Any) -> list[Any]:
    response = await client.post("/api/v2/chat/m.gguf/stream", json=chat_body(text, **more))
    assert response.status == 200, await response.text()
    return await events(response)


def _deltas(chunks: Iterable[Any], index: int = 0) -> list[dict[str, Any]]:
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return [choice["delta"] for choice in choices if choice["index"] == index]


async def test_tool_calls_and_reasoning_are_taken_out_of_the_text(client: Client) -> None:
    called = {"id": "call1", "type": "function"} | {
        "function": {"name": "weather", "arguments": "{}"}
    }
    for answer in (await _v1(client, CALLING), await _v2(client, CALLING)):
        [choice] = answer["choices"]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"] == {
            "role": "assistant",
            "content": "sure",
            "reasoning_content": "hm",
            "tool_calls": [called],
        }


async def test_a_content_beside_tool_calls_is_null_for_openai_and_a_string_for_v2(
    client: Client,
) -> None:
    text = "echo: <f> {} </f>"
    assert (await _v1(client, text))["choices"][0]["message"]["content"] is None
    assert (await _v2(client, text))["choices"][0]["message"]["content"] == ""


async def test_tool_calls_are_streamed_with_their_name_once(client: Client) -> None:
    *chunks, done = await _v1(client, CALLING, stream=True)
    assert done == "[DONE]"
    deltas = _deltas(chunks)
    assert deltas[0] == {"role": "assistant", "content": None}
    assert deltas[1:3] == [{"reasoning_content": "hm"}, {"content": "sure"}]
    calls = [delta["tool_calls"][0] for delta in deltas[3:-1]]
    assert calls[0]["id"] == "call1"
    assert calls[0]["function"]["name"] == "weather"
    assert all("name" not in call["function"] for call in calls[1:])
    assert "".join(call["function"]["arguments"] for call in calls) == "{}"
    assert deltas[-1] == {}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_the_v2_stream_has_contents_where_its_reference_promises_them(
    client: Client,
) -> None:
    *chunks, _ = await _v2_stream(client, CALLING)
    deltas = _deltas(chunks)
    assert deltas[0] == {"role": "assistant", "content": "", "reasoning_content": "hm"}
    assert all("role" not in delta for delta in deltas[1:])
    assert deltas[-1] == {"content": ""}
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + ["tool_calls"]


@pytest.mark.parametrize("n_predict", [0, 1])
async def test_an_answer_of_at_most_one_token_is_one_chunk(client: Client, n_predict: int) -> None:
    chunk, done = await _v2_stream(client, "forever", n_predict=n_predict)
    assert done == "[DONE]"
    [choice] = chunk["choices"]
    assert choice["finish_reason"] == "length"
    assert choice["delta"]["role"] == "assistant"
    assert choice["delta"]["content"] == "word" * n_predict


async def test_several_answers_count_their_prompt_once(client: Client) -> None:
    for answer in (await _v1(client, "echo: a b", n=3), await _v2(client, "echo: a b", n=3)):
        assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
        assert {choice["message"]["content"] for choice in answer["choices"]} == {"a b"}
        usage = answer["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (5, 6)
        assert usage["total_tokens"] == 11


async def test_several_answers_are_streamed_side_by_side(client: Client) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, usage, done = await _v1(client, "echo: a b", n=2, **options)
    assert done == "[DONE]"
    assert usage["usage"]["completion_tokens"] == 4
    for index in (0, 1):
        deltas = _deltas(chunks, index)
        assert "".join(delta.get("content") or "" for delta in deltas) == "a b"
        assert deltas[0]["role"] == "assistant"
        assert deltas[-1] == {}


async def test_log_probabilities_name_the_token_and_its_rivals(client: Client) -> None:
    for call in (_v1, _v2):
        answer = await call(client, "echo: a b", logprobs=True, top_logprobs=2)
        first, second = answer["choices"][0]["logprobs"]["content"]
        assert (first["token"], first["bytes"], first["logprob"]) == ("<1>", [60, 49, 62], -0.5)
        assert [top["token"] for top in second["top_logprobs"]] == ["<2>", "<99>"]


async def test_log_probabilities_are_streamed_beside_their_text(client: Client) -> None:
    for chunks in (
        await _v1(client, "echo: a b", logprobs=True, stream=True),
        await _v2_stream(client, "echo: a b", logprobs=True),
    ):
        choices = [chunk["choices"][0] for chunk in chunks[:-1]]
        texts = [choice for choice in choices if choice["delta"].get("content")]
        tokens = [choice["logprobs"]["content"][0]["token"] for choice in texts]
        assert tokens == ["<1>", "<2>"]


async def test_log_probabilities_are_left_out_unless_requested(client: Client) -> None:
    answer = await _v1(client, "echo: a")
    assert "logprobs" not in answer["choices"][0]


_AFTER = {"role": "user", "content": "echo: a"}


async def test_a_message_of_the_wrong_type_is_a_400_that_names_it(client: Client) -> None:
    body = {"messages": [_AFTER, {"role": "user", "content": 5}]}
    response = await client.post("/api/v2/chat/m.gguf", json=body)
    assert response.status == 400
    assert (await response.json())["error"]["param"] == "messages[1].content"


@pytest.mark.parametrize(
    ("message", "warning"),
    [
        (
            {"role": "user", "content": [{"type": "text"}]},
            "messages[0].content[0]: 'text' is left out: it has no text",
        ),
        (
            {"role": "assistant", "tool_calls": [{}]},
            "messages[0].tool_calls[0]: 'call' is left out: neither a function nor a custom tool",
        ),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": 3}}]},
            "messages[0].tool_calls[0]: the arguments are not a JSON object; the model gets them as"
            " a text",
        ),
        (
            {"role": "user", "content": "x", "tool_calls": [{"function": {"name": "f"}}]},
            "messages[0].tool_calls: 'tool_calls' is left out: only the assistant calls tools",
        ),
    ],
)
async def test_what_a_past_message_lacks_is_a_warning_that_names_it(
    client: Client, message: dict[str, Any], warning: str
) -> None:
    body = {"messages": [message, _AFTER]}
    response = await client.post("/api/v2/chat/m.gguf", json=body)
    assert response.status == 200, await response.text()
    assert warning in (await response.json())["warnings"]


async def test_temperature_has_the_references_range_on_v2_only(client: Client) -> None:
    response = await client.post("/api/v2/chat/m.gguf", json=chat_body("x", temperature=2.5))
    assert response.status == 400
    assert (await response.json())["error"]["param"] == "temperature"
    await _v1(client, "echo: x", temperature=2.5)


async def test_unknown_fields_are_ignored_and_logged(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", logger="server.http.body.json_body"):
        await _v1(client, "echo: x", user="me")
    assert [record.getMessage() for record in caplog.records if "'user'" in record.message]
