"""llama-server's /completion and /infill over a scripted engine."""

import json
from typing import Any

import pytest

from tests.support.server_app import Client, post


async def _stream(client: Client, **body: Any) -> list[Any]:
    response = await client.post("/completion", json={"model": "m.gguf", "stream": True} | body)
    lines = (await response.text()).split("\n\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line]


async def test_an_answer_tells_why_it_ended_and_how_it_was_made(client: Client) -> None:
    document = await post(
        client, "/completion", prompt="echo: a b", return_tokens=True, top_k=7, seed=3
    )
    assert (document["content"], document["stop"], document["stop_type"]) == ("a b", True, "eos")
    assert (document["tokens"], document["tokens_evaluated"]) == ([1, 2], 5)
    assert (document["prompt"], document["index"], document["id_slot"]) == ("echo: a b", 0, 6)
    settings = document["generation_settings"]
    assert (settings["top_k"], settings["seed"], settings["n_predict"]) == (7, 3, -1)
    assert (settings["stream"], settings["temperature"]) == (False, 0.8)
    assert "completion_probabilities" not in document
    limited = await post(client, "/completions", prompt="forever", n_predict=2)
    assert (limited["stop_type"], limited["tokens_predicted"]) == ("limit", 2)


async def test_several_prompts_and_answers_are_a_list(client: Client) -> None:
    documents = await post(client, "/completion", prompt=["echo: a", "echo: b c"], n=2)
    assert [document["content"] for document in documents] == ["a", "a", "b c", "b c"]
    assert [document["index"] for document in documents] == [0, 1, 2, 3]
    assert [document["tokens_predicted"] for document in documents] == [1, 1, 2, 2]
    single = await post(client, "/completion", prompt=[5, 6])
    assert (single["content"], single["prompt"]) == ("word", [5, 6])


async def test_a_stream_ends_each_answer_by_itself_and_has_no_mark(client: Client) -> None:
    documents = await _stream(client, prompt=["echo: a b", "echo: c"], n_probs=1)
    ends = [document for document in documents if document["stop"]]
    assert {document["index"] for document in ends} == {0, 1}
    pieces = [document for document in documents if not document["stop"]]
    texts = ["".join(p["content"] for p in pieces if p["index"] == index) for index in (0, 1)]
    assert texts == ["a b", "c"]
    assert pieces[0]["completion_probabilities"][0]["top_logprobs"][0]["logprob"] == -0.5
    assert "timings" not in pieces[0]
    assert all(document["generation_settings"]["stream"] for document in ends)


async def test_timings_come_with_every_piece_on_request(client: Client) -> None:
    documents = await _stream(client, prompt="echo: a b", timings_per_token=True)
    assert all(document["timings"]["prompt_ms"] == 10.0 for document in documents)


async def test_a_gap_that_does_not_fit_names_its_field(client: Client) -> None:
    gap = {"input_prefix": "a", "input_suffix": "b", "prompt": "long 100"}
    error = (await post(client, "/infill", 400, **gap))["error"]
    assert (error["type"], error["param"]) == ("exceed_context_size_error", "input_prefix")
    assert (error["n_prompt_tokens"], error["n_ctx"]) == (100, 64)


async def test_only_the_fields_that_were_requested_are_returned(client: Client) -> None:
    fields = ["content", "generation_settings/top_k", "generation_settings/none", "nothing"]
    body: dict[str, Any] = {"prompt": "echo: a", "response_fields": fields, "top_k": 7}
    expected = {"content": "a", "generation_settings/top_k": 7}
    assert await post(client, "/completion", **body) == expected
    *_, end = await _stream(client, **body)
    assert end == expected | {"content": ""}


async def test_a_gap_is_filled_in_the_same_form(client: Client) -> None:
    gap: dict[str, Any] = {"input_prefix": "int ", "input_suffix": ["}", 5]}
    gap["input_extra"] = [{"text": "x"}]
    document = await post(client, "/infill", prompt="echo: a", **gap)
    assert (document["content"], document["prompt"]) == ("a", "echo: a")
    assert (await post(client, "/infill", **gap))["content"] == "word"


_GAP = {"input_prefix": "a", "input_suffix": "b"}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/completion", {}, "prompt"),
        ("/completion", {"prompt": []}, "prompt"),
        ("/completion", {"prompt": "a", "id_slot": -2}, "id_slot"),
        ("/completion", {"prompt": "a", "cache_prompt": "no"}, "cache_prompt"),
        ("/completion", {"prompt": "a", "t_max_predict_ms": 0.5}, "t_max_predict_ms"),
        ("/completion", {"prompt": "a", "lora": [{"id": 0, "scale": 1}]}, "lora"),
        ("/completion", {"prompt": "a", "post_sampling_probs": True}, "post_sampling_probs"),
        ("/completion", {"prompt": "a", "response_fields": 5}, "response_fields"),
        ("/completion", {"prompt": "a", "prompt_logprobs": 1000}, "prompt_logprobs"),
        ("/infill", {"input_suffix": "b"}, "input_prefix"),
        ("/infill", {"input_prefix": "a"}, "input_suffix"),
        ("/infill", _GAP | {"prompt": ["a"]}, "prompt"),
        ("/infill", _GAP | {"input_extra": [{}]}, "input_extra[0].text"),
        (
            "/infill",
            _GAP | {"input_extra": [{"text": "a", "filename": 1}]},
            "input_extra[0].filename",
        ),
    ],
)
async def test_what_cannot_be_honoured_is_a_400_that_names_the_field(
    client: Client, path: str, body: dict[str, Any], param: str
) -> None:
    error = (await post(client, path, 400, **body))["error"]
    assert error["param"] == param
