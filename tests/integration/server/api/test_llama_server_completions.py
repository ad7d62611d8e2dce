"""llama-server's /completion and /infill over a scripted engine."""

import json
from typing import Any

import pytest

from tests.support.server_app import Client, post


async def _stream(client: Client, **body: Any) -> list[Any]:
    response = await client.post("/completion", json={"model": "m.gguf", "stream": True} | body)
    lines = (await response.text()).split("\n\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line]


async def test_an_answer_reports_why_it_ended_and_its_settings(client: Client) -> None:
    document = await post(
        client, "/completion", prompt="echo: a b", return_tokens=True, top_k=7, seed=3
    )
    assert (document["content"], document["stop"], document["stop_type"]) == ("a b", True, "eos")
    assert (document["tokens"], document["tokens_evaluated"]) == ([1, 2], 5)
    # The prompt's tokens as text, BOS and other special tokens included.
    assert (document["prompt"], document["index"], document["id_slot"]) == ("<1>" * 5, 0, 6)
    assert document["truncated"] is False
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
    assert single["content"] == "word"


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


async def test_a_request_has_scales_of_its_own(client: Client) -> None:
    scales = [{"id": 1, "scale": 0.25}]
    assert (await post(client, "/completion", prompt="lora", lora=scales))["content"] == "0.0,0.25"


async def test_an_answer_reports_drafts_and_a_context_that_was_too_small(client: Client) -> None:
    document = await post(client, "/completion", prompt="echo: drafted")
    assert document["truncated"] is True
    timings = document["timings"]
    assert (timings["draft_n"], timings["draft_n_accepted"]) == (9, 6)
    assert (timings["prompt_per_token_ms"], timings["predicted_per_token_ms"]) == (10 / 3, 0.0)
    *_, end = await _stream(client, prompt="echo: drafted")
    assert end["truncated"] is True


async def test_probabilities_after_the_samplers_are_plain_numbers(client: Client) -> None:
    body: dict[str, Any] = {"prompt": "echo: a", "n_probs": 2, "post_sampling_probs": True}
    [entry] = (await post(client, "/completion", **body))["completion_probabilities"]
    assert entry["prob"] == pytest.approx(0.6065, abs=1e-4)
    assert [top["prob"] for top in entry["top_probs"]] == pytest.approx([0.6065, 0.2231], abs=1e-4)
    assert "logprob" not in entry


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
    assert document["content"] == "a"
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
        ("/completion", {"prompt": "lora", "lora": [{"id": 2, "scale": 1}]}, "lora"),
        ("/completion", {"prompt": "a", "lora": [{"id": 0, "scale": 1e9}]}, "lora[0].scale"),
        (
            "/completion",
            {"prompt": "a", "lora": [{"id": 0, "scale": 1}, {"id": 0, "scale": 2}]},
            "lora",
        ),
        ("/completion", {"prompt": "a", "n_keep": -2}, "n_keep"),
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
