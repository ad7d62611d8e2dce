"""OpenAI's Responses API over a scripted engine."""

import json
from typing import Any

import pytest

from tests.support.server_app import Client


async def _post(client: Client, status: int = 200, path: str = "", **body: Any) -> Any:
    fields = {"model": "m.gguf"} | body
    response = await client.post(f"/v1/responses{path}", json=fields)
    assert response.status == status, await response.text()
    return await response.json()


async def _events(client: Client, text: str, **body: Any) -> list[dict[str, Any]]:
    fields = {"model": "m.gguf", "input": text, "stream": True} | body
    sent = await (await client.post("/v1/responses", json=fields)).text()
    documents = []
    for block in sent.split("\n\n")[:-1]:
        name, data = block.split("\n")
        document = json.loads(data.removeprefix("data: "))
        assert name == f"event: {document['type']}"
        documents.append(document)
    assert [event["sequence_number"] for event in documents] == list(range(len(documents)))
    return documents


def _kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def _without_ids(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != "id"}


@pytest.mark.parametrize("every", [False, True])
async def test_the_last_event_has_timings_and_those_of_the_text_on_request(
    client: Client, every: bool
) -> None:
    events = await _events(client, "echo: a b", timings_per_token=every)
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert events[-1]["timings"]["predicted_n"] == 2
    assert ["timings" in event for event in deltas] == [every] * len(deltas)
    assert not any("prompt_progress" in event for event in events)


async def test_a_response_has_openais_form(client: Client) -> None:
    document = await _post(client, input="echo: a b", metadata={"k": "v"}, temperature=0.5)
    assert document["id"].startswith("resp_")
    assert document["output"][0].pop("id").startswith("msg_")
    part = {"type": "output_text", "text": "a b", "annotations": [], "logprobs": []}
    expected = {
        "object": "response",
        "model": "m.gguf",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "output": [
            {"type": "message", "role": "assistant", "status": "completed", "content": [part]}
        ],
        "usage": {
            "input_tokens": 5,
            "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 7,
        },
        "metadata": {"k": "v"},
        "temperature": 0.5,
        "store": False,
        "previous_response_id": None,
        "tool_choice": "auto",
        "tools": [],
        "text": {"format": {"type": "text"}},
    }
    assert {key: document[key] for key in expected} == expected


async def test_an_answer_that_was_cut_off_is_incomplete_and_says_why(client: Client) -> None:
    document = await _post(client, input="forever", max_output_tokens=2)
    assert document["status"] == document["output"][0]["status"] == "incomplete"
    assert document["incomplete_details"] == {"reason": "max_output_tokens"}
    events = await _events(client, "forever", max_output_tokens=2)
    assert _kinds(events)[-1] == "incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


async def test_reasoning_text_and_calls_are_items(client: Client) -> None:
    document = await _post(client, input="echo: <r> hm </r> yes <f> {} </f>")
    reasoning, message, call = document["output"]
    assert _without_ids(reasoning) == {
        "type": "reasoning",
        "status": "completed",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "hm"}],
    }
    assert message["content"][0]["text"] == "yes"
    assert _without_ids(call) == {
        "type": "function_call",
        "status": "completed",
        "call_id": "call1",
        "name": "f",
        "arguments": "{}",
    }
    assert document["usage"]["output_tokens_details"] == {"reasoning_tokens": 2}


async def test_a_stream_opens_and_closes_every_item(client: Client) -> None:
    events = await _events(client, "echo: <r> hm </r> a b <f> {} </f>")
    assert _kinds(events) == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", "reasoning_text.delta"),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        "completed",
    ]
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert events[-1]["response"]["output"] == items
    assert [event["output_index"] for event in events if "item" in event] == [0, 0, 1, 1, 2, 2]
    assert [event["delta"] for event in events if "output_text.delta" in event["type"]] == [
        *("a", "b")
    ]
    assert events[0]["response"]["status"] == "in_progress"
    assert events[0]["response"]["id"] == events[-1]["response"]["id"]
    added = [event["item"] for event in events if event["type"] == "response.output_item.added"]
    assert [item["id"] for item in added] == [item["id"] for item in items]
    assert (added[2]["call_id"], added[2]["arguments"]) == ("call1", "")


async def test_the_last_event_of_a_stream_has_the_whole_response(client: Client) -> None:
    text = "echo: <r> hm </r> a b <f> {} </f> <g> {} </g>"
    whole = await _post(client, input=text)
    streamed = (await _events(client, text))[-1]["response"]
    for document in (whole, streamed):
        document["output"] = [_without_ids(item) for item in document["output"]]
    assert [item["type"] for item in whole["output"]][2:] == ["function_call"] * 2
    changing = {"id", "created_at", "completed_at"}
    assert {key: whole[key] for key in whole.keys() - changing} == {
        key: streamed[key] for key in streamed.keys() - changing
    }


async def test_a_failure_in_mid_stream_is_a_failed_response(client: Client) -> None:
    events = await _events(client, "die")
    assert _kinds(events)[:2] == ["created", "in_progress"]
    assert _kinds(events)[-1] == "failed"
    response = events[-1]["response"]
    assert response["status"] == "failed"
    assert response["error"]["code"] == "worker_crashed"
    assert response["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize(
    "asked", [{"top_logprobs": 1}, {"include": ["message.output_text.logprobs"]}]
)
async def test_log_probabilities_go_with_the_text(client: Client, asked: dict[str, Any]) -> None:
    document = await _post(client, input="echo: a b", **asked)
    [part] = document["output"][0]["content"]
    assert [entry["logprob"] for entry in part["logprobs"]] == [-0.5, -0.5]
    assert len(part["logprobs"][0]["top_logprobs"]) == asked.get("top_logprobs", 0)
    events = await _events(client, "echo: a b", **asked)
    deltas = [event for event in events if event["type"].endswith("text.delta")]
    assert [entry for event in deltas for entry in event["logprobs"]] == part["logprobs"]


async def test_log_probabilities_of_reasoning_and_calls_are_not_those_of_the_text(
    client: Client,
) -> None:
    text = "echo: <r> hm so </r> a b <f> {} </f>"
    document = await _post(client, input=text, top_logprobs=0)
    [message] = [item for item in document["output"] if item["type"] == "message"]
    entries = message["content"][0]["logprobs"]
    # Its tokens are the words: the fifth and the sixth.
    assert [entry["token"] for entry in entries] == ["<5>", "<6>"]
    deltas = [event for event in await _events(client, text, top_logprobs=0) if "logprobs" in event]
    reported = [entry for event in deltas if "delta" in event for entry in event["logprobs"]]
    assert reported == entries


async def test_tokens_of_the_input_are_counted(client: Client) -> None:
    document = await _post(client, path="/input_tokens", input="one two three")
    assert document == {"object": "response.input_tokens", "input_tokens": 3}


async def test_llama_servers_paths_answer_too(client: Client) -> None:
    for path in ("/responses", "/responses/input_tokens"):
        response = await client.post(path, json={"model": "m.gguf", "input": "a"})
        assert response.status == 200
