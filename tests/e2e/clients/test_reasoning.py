"""Reasoning as the real clients receive it.

The bundled model does not reason, so the tests give it a template with reasoning tags and a grammar
that makes it write them. The server parses the tags.
"""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import ollama
import pytest
from anthropic import Anthropic
from anthropic.types import TextBlock, ThinkingBlock
from openai import OpenAI

from tests.support.client_server import BUNDLED, client_server
from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e

_TEMPLATE = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.role == 'assistant' and message.reasoning_content %}
        {{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' }}
    {%- endif %}
    {{- message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""
# It begins a thought whatever the request says, as those of some models do.
_ALWAYS = "always.gguf"
_ALWAYS_TEMPLATE = _TEMPLATE.partition("{%- if add_generation_prompt")[0] + (
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}{%- endif %}"
)
_REASONING = "It is a so far away city."
_ANSWER = "It is so."
_GRAMMAR = f'root ::= "<think>\\n{_REASONING}\\n</think>\\n\\n" "{_ANSWER}"'
_FORCED: dict[str, Any] = {"grammar": _GRAMMAR, "temperature": 0}
_QUESTION = {"role": "user", "content": "Where is it?"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(BUNDLED / TINY, folder / _ALWAYS)
    with client_server(folder) as process:
        settings = {"chat_template": _TEMPLATE, "n_ctx": 4096, "n_parallel": 1, "threads": 1}
        process.post(f"/api/v2/models/{TINY}/load", settings)
        settings["chat_template"] = _ALWAYS_TEMPLATE
        process.post(f"/api/v2/models/{_ALWAYS}/load", settings)
        yield process


@pytest.fixture(scope="module")
def openai_client(server: ServerProcess) -> Iterator[OpenAI]:
    base_url = f"http://127.0.0.1:{server.port}/v1"
    with OpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        yield client


def _fields(**more: Any) -> dict[str, Any]:
    return {"model": TINY, "messages": [_QUESTION], "extra_body": _FORCED} | more


def test_openais_client_gets_reasoning_separate_from_the_answer(openai_client: OpenAI) -> None:
    whole = openai_client.chat.completions.create(**_fields())
    message, details = whole.choices[0].message, whole.usage.completion_tokens_details
    assert (message.reasoning_content.strip(), message.content) == (_REASONING, _ANSWER)
    assert 0 < details.reasoning_tokens < whole.usage.completion_tokens
    options = {"include_usage": True}
    chunks = list(
        openai_client.chat.completions.create(**_fields(stream=True, stream_options=options))
    )
    deltas = [chunk.choices[0].delta for chunk in chunks[:-1]]
    reasoning = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert reasoning == message.reasoning_content
    assert "".join(delta.content or "" for delta in deltas) == _ANSWER
    assert chunks[-1].usage.completion_tokens_details == details
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_a_responses_log_probabilities_cover_its_text_only(openai_client: OpenAI) -> None:
    fields: dict[str, Any] = {"model": TINY, "input": "Where is it?", "extra_body": _FORCED}
    fields |= {"include": ["message.output_text.logprobs"], "top_logprobs": 1}
    whole = openai_client.responses.create(**fields)
    reasoning, message = whole.output
    assert reasoning.content[0].text.strip() == _REASONING
    [part] = message.content
    assert part.text == whole.output_text == _ANSWER
    # One token may contain the end of the tag and the first word.
    reported = b"".join(bytes(entry.bytes) for entry in part.logprobs).decode()
    assert reported.endswith(_ANSWER)
    assert reported.strip() == _ANSWER
    events = list(openai_client.responses.create(**fields, stream=True))
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    pieces = [entry.token for event in deltas for entry in event.logprobs]
    assert pieces == [entry.token for entry in part.logprobs]
    assert whole.usage.output_tokens_details.reasoning_tokens > 0


def test_anthropics_client_gets_a_thinking_block(server: ServerProcess) -> None:
    base_url = f"http://127.0.0.1:{server.port}"
    with Anthropic(base_url=base_url, api_key="any", max_retries=0) as client:
        whole = client.messages.create(**_fields(max_tokens=200))
        with client.messages.stream(**_fields(max_tokens=200)) as stream:
            streamed = stream.get_final_message()
    for message in (whole, streamed):
        reasoning, text = message.content
        assert isinstance(reasoning, ThinkingBlock)
        assert reasoning.thinking.strip() == _REASONING
        assert isinstance(text, TextBlock)
        assert text.text == _ANSWER
        assert message.stop_reason == "end_turn"


def test_ollamas_client_gets_reasoning_separate_from_the_answer(server: ServerProcess) -> None:
    fields: dict[str, Any] = {"model": TINY, "messages": [_QUESTION], "options": _FORCED}
    with ollama.Client(host=f"http://127.0.0.1:{server.port}") as client:
        whole = client.chat(**fields, think=True).message
        lines = [line.message for line in client.chat(**fields, think=True, stream=True)]
        assert "thinking" in (client.show(TINY).capabilities or [])
    assert (str(whole.thinking).strip(), whole.content) == (_REASONING, _ANSWER)
    assert "".join(line.thinking or "" for line in lines) == whole.thinking
    assert "".join(line.content or "" for line in lines) == _ANSWER


def test_reasoning_ends_at_its_budget(openai_client: OpenAI, server: ServerProcess) -> None:
    grammar = f'root ::= "<think>\\n" [a-z ]+ "</think>\\n\\n" "{_ANSWER}"'

    def think(**budget: Any) -> Any:
        body = {"grammar": grammar, "temperature": 0, **budget}
        fields = _fields(extra_body=body, max_tokens=60)
        return openai_client.chat.completions.create(**fields).choices[0].message

    long = think().reasoning_content.strip()
    short = think(reasoning_budget_tokens=4)
    assert short.content == _ANSWER
    assert long.startswith(short.reasoning_content.strip())
    assert 0 < len(short.reasoning_content.strip()) < len(long)
    warned = think(thinking_budget_tokens=4, reasoning_budget_message=" enough")
    assert warned.reasoning_content.strip() == f"{short.reasoning_content.strip()} enough"
    assert warned.content == _ANSWER
    with Anthropic(
        base_url=f"http://127.0.0.1:{server.port}", api_key="any", max_retries=0
    ) as client:
        message = client.messages.create(
            **_fields(extra_body={"grammar": grammar, "temperature": 0}, max_tokens=60),
            thinking={"type": "enabled", "budget_tokens": 4},
        )
    reasoning, text = message.content
    assert (reasoning.thinking, text.text) == (short.reasoning_content, _ANSWER)


def test_a_stop_string_is_matched_in_the_answer_and_not_in_the_reasoning(
    openai_client: OpenAI, server: ServerProcess
) -> None:
    choice = openai_client.chat.completions.create(**_fields(stop=["so"])).choices[0]
    message: Any = choice.message
    assert (message.reasoning_content.strip(), message.content) == (_REASONING, "It is ")
    assert choice.finish_reason == "stop"
    only = openai_client.chat.completions.create(**_fields(stop=["far away", "\n"])).choices[0]
    assert only.message.content == _ANSWER
    body = {"model": TINY, "messages": [_QUESTION], "max_tokens": 200, "stop_sequences": ["so"]}
    status, whole = server.request("POST", "/v1/messages", body | _FORCED)
    assert (status, whole["stop_reason"], whole["stop_sequence"]) == (200, "stop_sequence", "so")
    assert whole["content"][0]["thinking"].strip() == _REASONING
    options = _FORCED | {"stop": ["so"]}
    body = {"model": TINY, "messages": [_QUESTION], "stream": False, "options": options}
    _, line = server.request("POST", "/api/chat", body)
    assert (line["message"]["thinking"].strip(), line["message"]["content"]) == (
        _REASONING,
        "It is ",
    )


def test_with_reasoning_in_the_content_a_stop_string_is_matched_in_all_of_it(
    openai_client: OpenAI,
) -> None:
    body = _FORCED | {"reasoning_format": "none"}
    fields = _fields(stop=["so"], extra_body=body)
    content = openai_client.chat.completions.create(**fields).choices[0].message.content
    assert content == "<think>\nIt is a "


_OFF: list[tuple[str, dict[str, Any]]] = [
    ("/api/chat", {"think": False, "stream": False, "options": {"num_predict": 40}}),
    ("/api/generate", {"think": False, "stream": False, "prompt": "Where is it?"}),
    ("/v1/chat/completions", {"enable_thinking": False}),
    ("/v1/chat/completions", {"reasoning_effort": "none"}),
    ("/v1/chat/completions", {"chat_template_kwargs": {"enable_thinking": False}}),
    ("/v1/messages", {"thinking": {"type": "disabled"}}),
    ("/v1/responses", {"reasoning": {"effort": "none"}, "input": "Where is it?"}),
    (f"/api/v2/chat/{_ALWAYS}", {"enable_thinking": False}),
]


@pytest.mark.parametrize(("path", "fields"), _OFF)
def test_reasoning_that_is_off_ends_at_once_where_the_template_begins_it(
    server: ServerProcess, path: str, fields: dict[str, Any]
) -> None:
    body = {"model": _ALWAYS, "messages": [_QUESTION], "max_tokens": 40, "max_output_tokens": 40}
    status, document = server.request("POST", path, body | {"temperature": 0} | fields)
    assert status == 200, document
    text = json.dumps(document)
    assert '"thinking"' not in text
    assert "reasoning_content" not in text
    assert '"type": "reasoning"' not in text
    assert "think>" not in text


def test_a_template_that_always_thinks_does_so_unless_it_is_off(server: ServerProcess) -> None:
    body = {"model": _ALWAYS, "messages": [_QUESTION], "max_tokens": 10, "temperature": 0}
    _, document = server.request("POST", "/v1/chat/completions", body)
    assert document["choices"][0]["message"]["reasoning_content"]


def test_an_answer_beside_tools_follows_the_schema_or_is_a_call(server: ServerProcess) -> None:
    function = {"name": "f", "parameters": {"type": "object"}}
    body = {
        "model": TINY,
        "messages": [_QUESTION],
        "tools": [{"type": "function", "function": function}],
        "response_format": {"type": "json_object"},
        "max_tokens": 200,  # without a limit the small model goes on for thousands of tokens
    }
    status, document = server.request("POST", "/v1/chat/completions", body)
    assert status == 200, document
    message = document["choices"][0]["message"]
    assert message.get("tool_calls") or message["content"].startswith("{")


@pytest.mark.parametrize("model", [TINY, _ALWAYS])
@pytest.mark.parametrize("more", [{}, {"chat_template_kwargs": {"enable_thinking": False}}])
def test_a_budget_does_not_act_on_a_tag_inside_the_json_of_an_answer(
    server: ServerProcess, model: str, more: dict[str, Any]
) -> None:
    text = "one <think> two three four five six"
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"const": text}}}
    body = {"model": model, "messages": [_QUESTION], "max_tokens": 60, "temperature": 0}
    body |= {"response_format": form, "reasoning_budget_tokens": 2, **more}
    answer = server.post("/v1/chat/completions", body)
    assert json.loads(answer["choices"][0]["message"]["content"]) == text
