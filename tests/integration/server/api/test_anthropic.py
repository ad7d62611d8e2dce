"""Anthropic's messages over a scripted engine."""

import json
from typing import Any

import pytest

from tests.support.server_app import Client, chat_body


async def _post(client: Client, status: int = 200, path: str = "", **body: Any) -> Any:
    fields = {"model": "m.gguf"} | ({} if path else {"max_tokens": 20}) | body
    response = await client.post(f"/v1/messages{path}", json=fields)
    assert response.status == status, await response.text()
    return await response.json()


async def _events(client: Client, **body: Any) -> list[dict[str, Any]]:
    fields = {"model": "m.gguf", "max_tokens": 20, "stream": True} | body
    text = await (await client.post("/v1/messages", json=fields)).text()
    documents = []
    for block in text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        document = json.loads(data.removeprefix("data: "))
        assert name == f"event: {document['type']}"
        documents.append(document)
    return documents


async def test_a_message_has_anthropics_form(client: Client) -> None:
    document = await _post(client, **chat_body("echo: a b"))
    assert document.pop("id").startswith("msg_")
    assert document == {
        "type": "message",
        "role": "assistant",
        "model": "m.gguf",
        "content": [{"type": "text", "text": "a b"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 3,
            "cache_read_input_tokens": 2,
            "cache_creation_input_tokens": 0,
            "output_tokens": 2,
        },
    }
    limited = await _post(client, **chat_body("forever"), max_tokens=2)
    assert limited["stop_reason"] == "max_tokens"


async def test_reasoning_and_calls_are_blocks(client: Client) -> None:
    document = await _post(client, **chat_body("echo: <r> hm </r> yes <f> {} </f>"))
    assert document["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "yes"},
        {"type": "tool_use", "id": "call1", "name": "f", "input": {}},
    ]
    assert document["stop_reason"] == "tool_use"


async def test_a_call_that_was_cut_off_is_left_out_and_the_end_says_so(client: Client) -> None:
    body = chat_body('echo: so <f> {"x": 1} </f>', max_tokens=3)
    document = await _post(client, **body)
    assert document["content"] == [{"type": "text", "text": "so"}]
    assert document["stop_reason"] == "max_tokens"
    # The stream has begun by then: its text is not JSON, and its end has the reason.
    *_, delta, _ = events = await _events(client, **body)
    pieces = [event["delta"].get("partial_json") for event in events if "delta" in event]
    assert '{"x":' in pieces
    assert delta["delta"]["stop_reason"] == "max_tokens"


async def test_a_call_without_arguments_has_none(client: Client) -> None:
    document = await _post(client, **chat_body("echo: <f> </f>"))
    assert document["content"] == [{"type": "tool_use", "id": "call1", "name": "f", "input": {}}]
    assert document["stop_reason"] == "tool_use"


async def test_a_stream_opens_and_closes_every_block(client: Client) -> None:
    events = await _events(client, **chat_body("echo: <r> hm </r> a b <f> {} </f>"))
    assert [event["type"] for event in events] == [
        "message_start",
        *("content_block_start", "content_block_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_delta"),
        "content_block_stop",
        *("content_block_start", "content_block_delta", "content_block_delta"),
        *("content_block_stop", "message_delta", "message_stop"),
    ]
    starts = [event["content_block"]["type"] for event in events if "content_block" in event]
    assert starts == ["thinking", "text", "tool_use"]
    assert [event["index"] for event in events if "content_block" in event] == [0, 1, 2]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert [delta["text"] for delta in deltas if delta["type"] == "text_delta"] == ["a", "b"]
    assert deltas[-1] == {"type": "input_json_delta", "partial_json": "{}"}
    assert events[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert events[-2]["usage"]["output_tokens"] == 8


async def test_tokens_are_counted_without_an_answer(client: Client) -> None:
    document = await _post(client, path="/count_tokens", **chat_body("one two three"))
    assert document == {"input_tokens": 3}


async def test_a_history_of_tools_is_rendered_as_openais(client: Client) -> None:
    use = {"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 1}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "echo: a result"}
    history = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [{"type": "text", "text": "so"}, use]},
        {"role": "user", "content": [result]},
    ]
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    document = await _post(client, messages=history, tools=tools, tool_choice={"type": "any"})
    assert document["content"] == [{"type": "text", "text": "a result"}]


_IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}
_TOOL = {"name": "f", "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        (chat_body("a") | {"max_tokens": None}, "max_tokens"),
        (chat_body("a") | {"max_tokens": -1}, "max_tokens"),
        (chat_body("a") | {"n": 2}, "n"),
        (chat_body("a") | {"top_p": 3}, "top_p"),
        (chat_body("a") | {"tool_choice": {"type": "tool"}, "tools": [_TOOL]}, "tool_choice.name"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [_IMAGE]}]},
            "messages[0].content[0].source.data",
        ),
    ],
)
async def test_a_wrong_body_is_an_error_in_anthropics_form(
    client: Client, body: dict[str, Any], param: str
) -> None:
    document = await _post(client, 400, **body)
    assert document["type"] == "error"
    assert document["error"]["type"] == "invalid_request_error"
    assert document["error"]["param"] == param


async def test_an_unknown_model_is_anthropics_not_found(client: Client) -> None:
    document = await _post(client, 404, **chat_body("a"), model="nothing.gguf")
    assert (document["type"], document["error"]["type"]) == ("error", "not_found_error")
