"""Text completions with the bundled model."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server_process import TINY, ServerProcess, all_events

pytestmark = pytest.mark.e2e

_CHAT = {"messages": [{"role": "user", "content": "What is 2 + 3?"}], "temperature": 0}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("models")) as process:
        process.post(f"/api/v2/models/{TINY}/load", {"threads": 1})
        yield process


def _complete(server: ServerProcess, prompt: Any, **more: Any) -> Any:
    body = {"model": TINY, "prompt": prompt, "temperature": 0} | more
    return server.post("/v1/completions", body)


def test_a_chats_prompt_as_text_or_tokens_gives_the_chats_answer(server: ServerProcess) -> None:
    chat = server.post("/v1/chat/completions", {"model": TINY} | _CHAT)
    text = chat["choices"][0]["message"]["content"]
    prompt = server.post("/apply-template", {"model": TINY} | _CHAT)["prompt"]
    tokens = server.post("/tokenize", {"model": TINY, "content": prompt, "add_special": True})
    assert text
    for form in (prompt, tokens["tokens"]):
        completion = _complete(server, form)
        assert completion["choices"][0]["text"] == text
        assert completion["usage"]["prompt_tokens"] == chat["usage"]["prompt_tokens"]
    native = server.post("/completion", {"model": TINY, "prompt": prompt, "temperature": 0})
    assert (native["content"], native["stop_type"]) == (text, "eos")
    echoed = _complete(server, prompt, echo=True)
    assert echoed["choices"][0]["text"] == prompt + text


def test_a_completion_follows_its_schema(server: ServerProcess) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [7]}}, "required": ["n"]}
    answer = _complete(server, "x", json_schema=schema, max_tokens=60)["choices"][0]
    assert json.loads(answer["text"]) == {"n": 7}


def test_several_prompts_are_answered_as_each_alone(server: ServerProcess) -> None:
    prompts = ["The capital of", "One, two,", "Hello"]
    together = _complete(server, prompts, max_tokens=8)["choices"]
    alone = [_complete(server, prompt, max_tokens=8)["choices"][0] for prompt in prompts]
    assert [choice["text"] for choice in together] == [choice["text"] for choice in alone]


def test_streams_of_several_prompts_add_up_to_the_whole_answers(server: ServerProcess) -> None:
    body = {"model": TINY, "prompt": ["One, two,", "Hello"], "temperature": 0, "max_tokens": 8}
    whole = server.post("/v1/completions", body)
    texts = ["", ""]
    with server.open("/v1/completions", body | {"stream": True}) as response:
        *chunks, done = all_events(response)
    assert done == "[DONE]"
    for chunk in chunks:
        choice = chunk["choices"][0]
        texts[choice["index"]] += choice["text"]
    assert texts == [choice["text"] for choice in whole["choices"]]


def test_an_echoed_prompt_has_log_probabilities_like_an_answer(server: ServerProcess) -> None:
    answer = _complete(server, "Once upon", max_tokens=6, logprobs=2)["choices"][0]
    prompt = "Once upon" + answer["text"]
    echoed = _complete(server, prompt, max_tokens=0, echo=True, logprobs=2)["choices"][0]
    assert echoed["text"] == prompt
    got, expected = echoed["logprobs"], answer["logprobs"]
    n = len(expected["tokens"])
    assert got["tokens"][-n:] == expected["tokens"]
    assert got["token_logprobs"][0] is None
    assert got["token_logprobs"][-n:] == pytest.approx(expected["token_logprobs"], abs=1e-3)
    assert [got["text_offset"][-n], got["text_offset"][0]] == [len("Once upon"), 0]


def test_cache_prompt_false_computes_the_whole_prompt(server: ServerProcess) -> None:
    prompt = "This is a sentence that is said for the second time, word for word."
    _complete(server, prompt, max_tokens=1)
    reused = _complete(server, prompt, max_tokens=1)
    anew = _complete(server, prompt, max_tokens=1, cache_prompt=False)
    details = [one["usage"]["prompt_tokens_details"]["cached_tokens"] for one in (reused, anew)]
    assert details[0] > 5
    assert details[1] == 0
    assert reused["choices"][0]["text"] == anew["choices"][0]["text"]


def test_a_llama_server_answer_names_the_slot_that_keeps_its_prefix(server: ServerProcess) -> None:
    body = {"model": TINY, "prompt": "A very special beginning of a text", "n_predict": 3}
    body |= {"n_probs": 2, "return_progress": True, "ignore_eos": True}
    answer = server.post("/completion", body)
    slot = server.get(f"/slots?model={TINY}")[answer["id_slot"]]
    assert slot["n_prompt_tokens"] == answer["tokens_evaluated"] + 3 - 1
    assert len(answer["completion_probabilities"]) == 3
    assert answer["generation_settings"]["n_predict"] == 3


@pytest.mark.parametrize("path", ["/completion", "/v1/completions"])
def test_progress_of_a_prompt_is_streamed_before_its_answer(
    server: ServerProcess, path: str
) -> None:
    body = {"model": TINY, "prompt": "word " * 300, "n_predict": 2, "return_progress": True}
    with server.open(path, body | {"stream": True, "cache_prompt": False}) as response:
        first, *others = all_events(response)
    progress = first["prompt_progress"]
    n_prompt = next(event["timings"]["prompt_n"] for event in others if "timings" in event)
    assert (progress["total"], progress["cache"]) == (n_prompt, 0)
    assert 0 < progress["processed"] <= progress["total"]


def test_infill_without_infill_tokens_is_an_error(server: ServerProcess) -> None:
    body = {"model": TINY, "input_prefix": "a", "input_suffix": "b"}
    status, document = server.request("POST", "/infill", body)
    assert (status, document["error"]["param"]) == (400, "model")
    assert "no token for prefix, suffix, middle" in document["error"]["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": [10**6]}, "prompt"),
        ({"prompt": "a", "json_schema": "nonsense"}, "json_schema"),
        ({"prompt": "a", "json_schema": {"type": "string"}, "grammar": 'root ::= "a"'}, "grammar"),
        ({"prompt": "a", "grammar": "root ::= ("}, "grammar"),
    ],
)
def test_an_impossible_request_is_a_400_and_the_model_keeps_answering(
    server: ServerProcess, body: dict[str, Any], param: str
) -> None:
    status, document = server.request("POST", "/v1/completions", {"model": TINY} | body)
    assert status == 400
    assert document["error"]["param"] == param
    assert _complete(server, "Hello", max_tokens=1)["choices"][0]["finish_reason"] == "length"
