"""Items, blocks and messages of every kind become calls, texts or nothing."""

from typing import Any

import msgspec
import pytest

from server.api.anthropic.jobs import messages_job
from server.api.anthropic.schema import MessagesBody
from server.api.ollama.jobs import chat_job
from server.api.ollama.schema import OllamaChatBody
from server.api.openai.chat import ChatCompletionBody
from server.api.responses.jobs import responses_job
from server.api.responses.schema import ResponsesBody
from server.errors import InvalidRequestError
from server.protocol.job import ChatPrompt, Job

_HI = {"role": "user", "content": "hi"}
_BEGIN = {"role": "assistant", "content": "so"}


def _responses(*items: Any) -> Job:
    return responses_job(msgspec.convert({"input": [_HI, *items]}, ResponsesBody), "")


def _anthropic(*messages: Any) -> Job:
    body = {"messages": [_HI, *messages], "max_tokens": 5}
    return messages_job(msgspec.convert(body, MessagesBody), "")


def _chat(*messages: Any, **more: Any) -> Job:
    body = {"messages": [_HI, *messages], **more}
    return msgspec.convert(body, ChatCompletionBody).to_job()


def _ollama(*messages: Any) -> Job:
    body = {"model": "m", "messages": [_HI, *messages]}
    return chat_job(msgspec.convert(body, OllamaChatBody), "")


def _messages(job: Job) -> list[dict[str, Any]]:
    assert isinstance(job.prompt, ChatPrompt)
    return job.prompt.messages[1:]


def _round(name: str, arguments: str, result: str, call_id: str = "c") -> list[dict[str, Any]]:
    function = {"name": name, "arguments": arguments}
    calls = [{"type": "function", "id": call_id, "function": function}]
    return [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "content": result, "tool_call_id": call_id},
    ]


_ROUNDS = [
    (
        [
            {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": 'a "b"'},
            {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"},
        ],
        _round("patch", '{"input":"a \\"b\\""}', "ok"),
    ),
    (
        [
            {"type": "local_shell_call", "id": "i", "call_id": "c", "action": {"command": ["ls"]}},
            {"type": "local_shell_call_output", "id": "i", "output": "a.txt"},
        ],
        _round("local_shell", '{"command":["ls"]}', "a.txt"),
    ),
    (
        [
            {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}},
            {
                "type": "shell_call_output",
                "call_id": "c",
                "output": [{"stdout": "out", "stderr": "err", "outcome": {"type": "timeout"}}],
            },
        ],
        _round("shell", '{"commands":["ls"]}', "out\nerr"),
    ),
    (
        [
            {"type": "apply_patch_call", "call_id": "c", "operation": {"path": "a"}},
            {"type": "apply_patch_call_output", "call_id": "c", "status": "failed"},
        ],
        _round("apply_patch", '{"path":"a"}', "failed"),
    ),
    (
        [{"type": "mcp_call", "id": "m", "name": "n", "arguments": "{}", "output": "ok"}],
        _round("n", "{}", "ok", "m"),
    ),
    (
        [
            {
                "type": "code_interpreter_call",
                "id": "m",
                "code": "1+1",
                "outputs": [{"type": "logs", "logs": "2"}],
            }
        ],
        _round("code_interpreter", '{"code":"1+1"}', "2", "m"),
    ),
    (
        [
            {
                "type": "file_search_call",
                "id": "m",
                "queries": ["q"],
                "results": [{"filename": "a", "text": "b"}],
            }
        ],
        _round("file_search", '{"queries":["q"]}', "a:\nb", "m"),
    ),
    (
        [
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "id": "o", "name": "f", "output": "ok"},
        ],
        _round("f", "{}", "ok"),
    ),
]


@pytest.mark.parametrize(("items", "messages"), _ROUNDS, ids=lambda value: value[0].get("type"))
def test_calls_and_results_of_every_type_are_calls_and_results(
    items: list[Any], messages: list[Any]
) -> None:
    job = _responses(*items)
    assert _messages(job) == messages
    assert job.warnings == ()


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"type": "web_search_call", "id": "w", "action": {"query": "x"}}, "no result"),
        ({"type": "image_generation_call", "id": "w", "result": "aGk="}, "not shown"),
        ({"type": "compaction", "encrypted_content": "x"}, "encrypted"),
        ({"type": "reasoning", "summary": [], "encrypted_content": "x"}, "encrypted"),
        ({"type": "mcp_list_tools", "id": "m", "tools": []}, "MCP"),
        ({"type": "from_the_future", "payload": {"a": 1}}, "not supported"),
    ],
)
def test_an_item_without_text_for_the_model_is_left_out_with_one_warning(
    item: dict[str, Any], reason: str
) -> None:
    job = _responses(item, _HI, item)
    assert _messages(job) == [_HI]
    [warning] = job.warnings
    assert warning.startswith(f"input[1], input[3]: {item['type']!r} is left out: ")
    assert reason in warning


def test_an_empty_input_is_an_empty_message_of_the_user() -> None:
    job = responses_job(msgspec.convert({"input": []}, ResponsesBody), "")
    assert isinstance(job.prompt, ChatPrompt)
    assert job.prompt.messages == [{"role": "user", "content": ""}]


def _block(*blocks: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


def test_results_of_anthropics_tools_stand_between_the_assistants_texts() -> None:
    use = {"type": "server_tool_use", "id": "c", "name": "web_search", "input": {"query": "x"}}
    found = {"type": "web_search_result", "title": "T", "url": "U", "encrypted_content": "E"}
    result = {"type": "web_search_tool_result", "tool_use_id": "c", "content": [found]}
    job = _anthropic(_block(use, result, {"type": "text", "text": "ok"}, role="assistant"), _HI)
    round_of_search = _round("web_search", '{"query":"x"}', '{"title":"T","url":"U"}')
    round_of_search[0]["content"] = None
    assert _messages(job) == [*round_of_search, {"role": "assistant", "content": "ok"}, _HI]


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (
            {"type": "document", "title": "T", "source": {"type": "text", "data": "D"}},
            "T\nD",
        ),
        (
            {
                "type": "document",
                "context": "C",
                "source": {"type": "content", "content": [{"type": "text", "text": "D"}]},
            },
            "C\nD",
        ),
        (
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "text/plain", "data": "aGk="},
            },
            "hi",
        ),
        (
            {
                "type": "search_result",
                "title": "T",
                "source": "S",
                "content": [{"type": "text", "text": "D"}],
            },
            "T\nS\nD",
        ),
        ({"type": "compaction", "content": "what was said"}, "what was said"),
    ],
)
def test_documents_and_search_results_are_texts(block: dict[str, Any], text: str) -> None:
    job = _anthropic(_block(block))
    assert _messages(job) == [{"role": "user", "content": text}]
    assert job.warnings == ()


@pytest.mark.parametrize(
    "block",
    [
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf"}},
        {"type": "container_upload", "file_id": "f"},
        {"type": "from_the_future"},
    ],
)
def test_other_blocks_are_left_out_with_a_warning(block: dict[str, Any]) -> None:
    job = _anthropic(_block(block, {"type": "text", "text": "go on"}))
    assert _messages(job) == [{"role": "user", "content": "go on"}]
    assert job.warnings[0].startswith(f"messages[1].content[0]: {block['type']!r} is left out: ")


def test_a_thread_is_an_error_on_which_the_sdk_falls_back() -> None:
    body = {"messages": [_HI], "max_tokens": 5, "thread": {"type": "create"}}
    with pytest.raises(InvalidRequestError) as refused:
        messages_job(msgspec.convert(body, MessagesBody), "")
    details = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
    assert refused.value.body()["error"]["details"] == details


def test_a_custom_call_of_a_chat_is_a_call_with_a_text() -> None:
    call = {"id": "c", "type": "custom", "custom": {"name": "patch", "input": "x"}}
    job = _chat(
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "ok"},
    )
    assert _messages(job) == _round("patch", '{"input":"x"}', "ok")


def test_openais_predecessor_of_tools_is_a_call() -> None:
    job = _chat(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "ok"},
    )
    [call, result] = _messages(job)
    assert call["tool_calls"] == [
        {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]
    assert result == {"role": "tool", "name": "f", "content": "ok"}


def test_unknown_parts_and_calls_of_a_chat_are_left_out_with_a_warning() -> None:
    video = {"type": "video_url", "video_url": {"url": "x"}}
    job = _chat(
        {"role": "user", "content": [video, {"type": "text", "text": "a"}]},
        {"role": "assistant", "content": "b", "tool_calls": [{"id": "c", "type": "new"}]},
        _HI,
    )
    assert [message["content"] for message in _messages(job)] == ["a", "b", "hi"]
    assert "tool_calls" not in _messages(job)[1]
    assert [warning.split(" is left")[0] for warning in job.warnings] == [
        "messages[1].content[0]: 'video_url'",
        "messages[2].tool_calls[0]: 'new'",
    ]


@pytest.mark.parametrize("make", [_chat, _anthropic, _ollama])
def test_the_assistants_last_message_is_continued(make: Any) -> None:
    assert make(_BEGIN).prompt.continue_final_message is True
    assert make(_BEGIN, _HI).prompt.continue_final_message is None
    empty = make(_BEGIN | {"content": ""})
    assert empty.prompt.continue_final_message is None
    assert _messages(empty) == []
    both = make(_BEGIN, _BEGIN)
    assert [message["content"] for message in _messages(both)] == ["so\nso"]


def test_responses_do_not_continue_a_message() -> None:
    prompt = _responses(_BEGIN).prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.continue_final_message is None


@pytest.mark.parametrize(
    "fields", [{"continue_final_message": False}, {"add_generation_prompt": True}]
)
def test_a_field_forbids_the_continuation(fields: dict[str, Any]) -> None:
    prompt = _chat(_BEGIN, **fields).prompt
    assert isinstance(prompt, ChatPrompt)
    assert not prompt.continue_final_message


@pytest.mark.parametrize(("begin", "continues"), [(' {"a": ', True), ("Sure:", None)])
def test_an_answer_that_follows_a_schema_continues_only_json(
    begin: str, continues: bool | None
) -> None:
    prompt = _chat(_BEGIN | {"content": begin}, json_schema={"type": "object"}).prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.continue_final_message is continues


_BILLING = "x-anthropic-billing-header: cc_version=2.1.332.54f; cc_entrypoint=cli; cch=a5145;"


@pytest.mark.parametrize(
    ("system", "left"),
    [
        (_BILLING, None),
        (_BILLING + "You are an agent.", "You are an agent."),
        ([{"type": "text", "text": _BILLING}], None),
        ([{"type": "text", "text": _BILLING}, {"type": "text", "text": "Help."}], "Help."),
    ],
)
def test_the_version_of_the_client_is_removed_from_the_system_message(
    system: Any, left: str | None
) -> None:
    body = {"messages": [_HI], "max_tokens": 5, "system": system}
    prompt = messages_job(msgspec.convert(body, MessagesBody), "").prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages == [*([{"role": "system", "content": left}] if left else []), _HI]
    assert "'x-anthropic-billing-header' is left out" in prompt.warnings[0]
