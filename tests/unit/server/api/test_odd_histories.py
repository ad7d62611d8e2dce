"""Odd conversations: results without calls, malformed arguments, damaged files."""

import json
from typing import Any

import msgspec
import pytest

from server.api.anthropic.jobs import messages_job
from server.api.anthropic.schema import MessagesBody
from server.api.ollama.jobs import chat_job
from server.api.ollama.schema import OllamaChatBody
from server.api.openai.chat import ChatCompletionBody
from server.api.openai.completion_schema import CompletionBody
from server.api.responses.jobs import responses_job
from server.api.responses.schema import ResponsesBody
from server.http.body.lenient_values import lenient
from server.protocol.job import ChatPrompt, InfillPrompt, Job

Message = dict[str, Any]
_HI = {"role": "user", "content": "hi"}
_ORPHAN = "a tool's result without an earlier call of this id"


def _body(kind: Any, fields: Message) -> Any:
    return msgspec.convert(lenient(fields, kind), kind)


def _chat(*messages: Message) -> Job:
    job: Job = _body(ChatCompletionBody, {"messages": [_HI, *messages]}).to_job()
    return job


def _anthropic(*messages: Message) -> Job:
    fields = {"messages": [_HI, *messages], "max_tokens": 5}
    return messages_job(_body(MessagesBody, fields), "")


def _responses(*items: Message) -> Job:
    return responses_job(_body(ResponsesBody, {"input": [_HI, *items]}), "")


def _ollama(*messages: Message) -> Job:
    return chat_job(_body(OllamaChatBody, {"model": "m", "messages": [_HI, *messages]}), "")


def _messages(job: Job) -> list[Message]:
    assert isinstance(job.prompt, ChatPrompt)
    return job.prompt.messages[1:]


def _chat_call(arguments: Any, name: str | None = "f") -> Message:
    function = {"name": name, "arguments": arguments}
    call = {"id": "c", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _use(arguments: Any, name: str | None = "f") -> Message:
    block = {"type": "tool_use", "id": "c", "name": name, "input": arguments}
    return {"role": "assistant", "content": [block]}


def _item(arguments: Any, name: str | None = "f") -> Message:
    return {"type": "function_call", "call_id": "c", "name": name, "arguments": arguments}


def _chat_result(content: Any) -> Message:
    return {"role": "tool", "tool_call_id": "c", "content": content}


def _block_result(content: Any) -> Message:
    block = {"type": "tool_result", "tool_use_id": "c", "content": content}
    return {"role": "user", "content": [block]}


def _item_result(output: Any) -> Message:
    return {"type": "function_call_output", "call_id": "c", "output": output}


_DIALECTS = [
    pytest.param(_chat, _chat_call, _chat_result, id="openai"),
    pytest.param(_anthropic, _use, _block_result, id="anthropic"),
    pytest.param(_responses, _item, _item_result, id="responses"),
]


@pytest.mark.parametrize(("make", "call", "result"), _DIALECTS)
def test_a_result_without_its_call_is_a_warning(make: Any, call: Any, result: Any) -> None:
    job = make(result("42"))
    (message,) = _messages(job)
    assert message == {"role": "tool", "content": "42", "tool_call_id": "c"}
    assert len(job.warnings) == 1
    assert job.warnings[0].endswith(_ORPHAN)
    assert make(call("{}"), result("42")).warnings == ()


@pytest.mark.parametrize(("make", "call", "result"), _DIALECTS)
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("{bad", "{bad"),
        ("[1]", "[1]"),
        ([1], "[1]"),
        ("3", "3"),
        ('{"a": NaN}', '{"a": NaN}'),
        ('{"a": 1e400}', '{"a": 1e400}'),
        ('{"a": 1' + "0" * 400 + "}", '{"a": 1' + "0" * 400 + "}"),
        ('"x"', '"x"'),
    ],
)
def test_arguments_that_are_not_an_object_are_shown_as_a_text(
    make: Any, call: Any, result: Any, arguments: Any, text: str
) -> None:
    job = make(call(arguments), result("an error"))
    function = _messages(job)[0]["tool_calls"][0]["function"]
    assert json.loads(function["arguments"]) == {"arguments": text}
    assert "not a JSON object" in job.warnings[0]


@pytest.mark.parametrize(("make", "call", "result"), _DIALECTS)
@pytest.mark.parametrize(
    ("arguments", "wire"),
    [
        ('{"a": 1}', '{"a": 1}'),
        (json.dumps('{"a": 1}'), '{"a": 1}'),
        ({"a": 2**70}, '{"a":1180591620717411303424}'),
        (None, "{}"),
        ("", "{}"),
    ],
)
def test_arguments_that_are_an_object_reach_the_template(
    make: Any, call: Any, result: Any, arguments: Any, wire: str
) -> None:
    job = make(call(arguments), result("42"))
    assert _messages(job)[0]["tool_calls"][0]["function"]["arguments"] == wire
    assert job.warnings == ()


@pytest.mark.parametrize(("make", "call", "result"), _DIALECTS)
@pytest.mark.parametrize("name", [None, ""])
def test_a_call_without_a_name_is_left_out(
    make: Any, call: Any, result: Any, name: str | None
) -> None:
    job = make(call("{}", name), result("42"))
    assert not any("tool_calls" in message for message in _messages(job))
    assert any("it has no name" in warning for warning in job.warnings)


_DATA = "data:image/png;base64,aGk="
_PARTS = [
    pytest.param(_chat, _chat_result, {"type": "image_url", "image_url": {"url": _DATA}}),
    pytest.param(_responses, _item_result, {"type": "input_image", "image_url": _DATA}),
    pytest.param(
        _anthropic,
        _block_result,
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
    ),
    pytest.param(_anthropic, _block_result, {"type": "image"}),
]


@pytest.mark.parametrize(("make", "result", "part"), _PARTS)
def test_a_text_takes_the_place_of_a_damaged_image_in_a_result(
    make: Any, result: Any, part: Message
) -> None:
    job = make(result([part, {"type": "text", "text": "a page"}]))
    content = _messages(job)[0]["content"]
    assert content.startswith("[a file is left out: ")
    assert content.endswith("a page")
    assert any("'media' is left out: " in warning for warning in job.warnings)


def test_ollamas_results_may_have_damaged_images() -> None:
    job = _ollama({"role": "tool", "content": "a page", "images": ["aGk="]})
    first, second = _messages(job)[0]["content"]
    assert first["text"].startswith("[a file is left out: expected a PNG")
    assert second["text"] == "a page"


@pytest.mark.parametrize(("make", "call", "result"), _DIALECTS)
@pytest.mark.parametrize(
    ("content", "text"), [(["a", "b"], "a\nb"), ([{"a": 1}, "b"], '{"a":1}\nb')]
)
def test_a_result_may_be_a_list_of_texts(
    make: Any, call: Any, result: Any, content: Any, text: str
) -> None:
    assert _messages(make(call("{}"), result(content)))[1]["content"] == text


@pytest.mark.parametrize("make", [_chat, _anthropic, _responses])
def test_a_single_part_is_a_list_of_it(make: Any) -> None:
    job = make({"role": "user", "content": {"type": "text", "text": "hello"}})
    assert _messages(job) == [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize("make", [_chat, _anthropic, _responses])
def test_a_text_part_without_a_text_is_left_out(make: Any) -> None:
    parts = [{"type": "text", "text": None}, {"type": "text", "text": "hello"}]
    job = make({"role": "user", "content": parts})
    assert _messages(job) == [{"role": "user", "content": "hello"}]
    assert "it has no text" in job.warnings[0]


def test_a_completion_with_a_suffix_fills_a_gap() -> None:
    fields = {"prompt": "a", "suffix": "b", "best_of": 2}
    (job,) = msgspec.convert(fields, CompletionBody).to_jobs("")
    assert job.prompt == InfillPrompt(prefix="a", suffix="b")
    assert job.warnings == ("best_of: 2 is ignored; n answers are computed",)


def test_calls_of_another_role_are_left_out() -> None:
    job = _chat(_chat_call("{}") | {"role": "user", "content": "x"})
    assert _messages(job) == [{"role": "user", "content": "x"}]
    assert "only the assistant calls tools" in job.warnings[0]


def test_a_conversation_of_which_nothing_is_left_is_an_empty_message() -> None:
    thinking = {"role": "user", "content": [{"type": "thinking", "thinking": "hm"}]}
    fields = {"messages": [thinking], "max_tokens": 5}
    job = messages_job(_body(MessagesBody, fields), "")
    assert isinstance(job.prompt, ChatPrompt)
    assert job.prompt.messages == [{"role": "user", "content": ""}]
    assert "user messages cannot contain" in job.warnings[0]
