"""Text completions with the bundled model."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from server_process import TINY, ServerProcess

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


def test_the_prompt_of_a_chat_is_answered_as_the_chat_in_every_form(server: ServerProcess) -> None:
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


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": [10**6]}, "prompt"),
        ({"prompt": "a", "json_schema": {"type": "nonsense"}}, None),
        ({"prompt": "a", "json_schema": {"type": "string"}, "grammar": 'root ::= "a"'}, "grammar"),
        ({"prompt": "a", "grammar": "root ::= ("}, "grammar"),
    ],
)
def test_what_cannot_be_is_a_400_and_the_model_goes_on(
    server: ServerProcess, body: dict[str, Any], param: str | None
) -> None:
    status, document = server.request("POST", "/v1/completions", {"model": TINY} | body)
    assert status == 400
    assert param is None or document["error"]["param"] == param
    assert _complete(server, "Hello", max_tokens=1)["choices"][0]["finish_reason"] == "length"
