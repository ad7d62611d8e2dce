"""What of a request is not done: tools that are no functions, and what the worker leaves out."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.api.anthropic.jobs import messages_job
from server.api.anthropic.schema import MessagesBody
from server.api.ollama.jobs import chat_job
from server.api.ollama.schema import OllamaChatBody
from server.api.openai.chat import ChatCompletionBody
from server.api.responses.jobs import responses_job
from server.api.responses.schema import ResponsesBody
from server.errors import InvalidRequestError
from server.http.warnings_header import HEADER, header_text
from server.protocol.job import ChatPrompt, Job
from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, events, make_app

_SCHEMA = {"type": "object", "properties": {}}
_MESSAGES = [{"role": "user", "content": "hi"}]
_CHAT_TOOL = {"type": "function", "function": {"name": "f", "parameters": _SCHEMA}}
_RESPONSES_TOOL = {"type": "function", "name": "f", "parameters": _SCHEMA}
_ANTHROPIC_TOOL = {"name": "f", "input_schema": _SCHEMA}


def _chat(**more: Any) -> Job:
    return msgspec.convert({"messages": _MESSAGES, **more}, ChatCompletionBody).to_job()


def _responses(**more: Any) -> Job:
    return responses_job(msgspec.convert({"input": "hi", **more}, ResponsesBody), "")


def _anthropic(**more: Any) -> Job:
    body = {"messages": _MESSAGES, "max_tokens": 5, **more}
    return messages_job(msgspec.convert(body, MessagesBody), "")


def _ollama(**more: Any) -> Job:
    return chat_job(
        msgspec.convert({"model": "m", "messages": _MESSAGES, **more}, OllamaChatBody), ""
    )


def _prompt(job: Job) -> ChatPrompt:
    assert isinstance(job.prompt, ChatPrompt)
    return job.prompt


_KINDS = [
    (_chat, _CHAT_TOOL, {"type": "web_search_preview"}),
    (_chat, _CHAT_TOOL, {"type": "custom", "custom": {"name": "patch"}}),
    (_chat, _CHAT_TOOL, {"type": "image_generation", "function": None}),
    (_responses, _RESPONSES_TOOL, {"type": "web_search", "external_web_access": False}),
    (_responses, _RESPONSES_TOOL, {"type": "namespace", "name": "n", "tools": [_RESPONSES_TOOL]}),
    (_responses, _RESPONSES_TOOL, {"type": "custom", "name": "patch", "format": {"type": "text"}}),
    (_responses, _RESPONSES_TOOL, {"type": "local_shell"}),
    (_responses, _RESPONSES_TOOL, {"type": "tool_search"}),
    (_responses, _RESPONSES_TOOL, {"type": "mcp", "server_label": "s"}),
    (_responses, _RESPONSES_TOOL, {"type": "computer_use_preview", "display_width": 9}),
    (_anthropic, _ANTHROPIC_TOOL, {"type": "web_search_20250305", "name": "web_search"}),
    (_anthropic, _ANTHROPIC_TOOL, {"type": "bash_20250124", "name": "bash"}),
    (
        _anthropic,
        _ANTHROPIC_TOOL,
        {"type": "text_editor_20250728", "name": "edit", "max_characters": 9},
    ),
    (_anthropic, _ANTHROPIC_TOOL, {"type": "mcp_toolset", "mcp_server_name": "s"}),
    (_anthropic, _ANTHROPIC_TOOL, {"name": "later", "defer_loading": True}),
    (_ollama, _CHAT_TOOL, {"type": "web_search"}),
]


@pytest.mark.parametrize(("make", "function", "other"), _KINDS)
def test_a_tool_that_is_no_function_is_left_out_with_a_warning(
    make: Any, function: Any, other: dict[str, Any]
) -> None:
    job = make(tools=[other, function, other])
    tools = _prompt(job).tools or []
    assert [tool["function"]["name"] for tool in tools] == ["f"]
    assert len(job.warnings) == 2
    assert job.warnings[0].startswith("tools[0] ")
    assert job.warnings[1].startswith("tools[2] ")
    assert (other.get("type") or other["name"]) in job.warnings[0]
    alone = make(tools=[other])
    assert _prompt(alone).tools is None
    assert len(alone.warnings) == 1


@pytest.mark.parametrize(
    ("make", "tools", "choice", "param"),
    [
        (
            _chat,
            [_CHAT_TOOL, {"type": "custom", "name": "patch"}],
            "patch",
            "tool_choice.function.name",
        ),
        (_chat, [{"type": "web_search"}], "required", "tool_choice"),
        (_chat, [_CHAT_TOOL], {"type": "custom", "custom": {"name": "patch"}}, "tool_choice.type"),
        (_responses, [_RESPONSES_TOOL], {"type": "web_search"}, "tool_choice.type"),
        (
            _responses,
            [_RESPONSES_TOOL, {"type": "custom", "name": "patch"}],
            {"type": "function", "name": "patch"},
            "tool_choice.name",
        ),
        (_responses, [{"type": "web_search"}], "required", "tool_choice"),
        (
            _responses,
            [{"type": "web_search"}],
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]},
            "tool_choice",
        ),
        (
            _anthropic,
            [_ANTHROPIC_TOOL, {"type": "bash_20250124", "name": "bash"}],
            {"type": "tool", "name": "bash"},
            "tool_choice.name",
        ),
        (_anthropic, [{"type": "bash_20250124", "name": "bash"}], {"type": "any"}, "tool_choice"),
    ],
)
def test_a_choice_of_what_was_left_out_is_a_400_that_says_so(
    make: Any, tools: list[Any], choice: Any, param: str
) -> None:
    if choice == "patch":
        choice = {"type": "function", "function": {"name": "patch"}}
    with pytest.raises(
        InvalidRequestError, match=r"left out|cannot be chosen, only a function"
    ) as caught:
        make(tools=tools, tool_choice=choice)
    assert caught.value.param == param


def test_a_function_may_have_the_name_of_what_was_left_out() -> None:
    tool = {"type": "function", "name": "web_search", "parameters": _SCHEMA}
    choice = {"type": "function", "name": "web_search"}
    job = _responses(tools=[{"type": "web_search"}, tool], tool_choice=choice)
    assert _prompt(job).tool_choice == {"type": "function", "function": {"name": "web_search"}}


def test_allowed_tools_that_were_left_out_are_not_missed() -> None:
    choice = {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "web_search"}, {"type": "function", "name": "f"}],
    }
    job = _responses(tools=[{"type": "web_search"}, _RESPONSES_TOOL], tool_choice=choice)
    assert len(_prompt(job).tools or ()) == 1
    assert job.warnings[-1] == "tool_choice.tools: 'web_search' was left out of the tools"


@pytest.mark.parametrize(
    ("make", "more", "is_lenient"),
    [
        (_chat, {"json_schema": _SCHEMA}, True),
        (_chat, {"response_format": {"type": "json_schema", "schema": _SCHEMA}}, True),
        (_responses, {"text": {"format": {"type": "json_schema", "schema": _SCHEMA}}}, True),
        (
            _responses,
            {"text": {"format": {"type": "json_schema", "schema": _SCHEMA, "strict": True}}},
            False,
        ),
        (
            _anthropic,
            {"output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}}},
            True,
        ),
        (_ollama, {"format": _SCHEMA}, True),
        *[
            (
                _chat,
                {
                    "response_format": {
                        "type": "json_schema",
                        "json_schema": {"name": "n", "schema": _SCHEMA, "strict": strict},
                    }
                },
                not strict,
            )
            for strict in (True, False, None)
        ],
    ],
)
def test_only_strict_makes_the_schema_of_an_answer_strict(
    make: Any, more: dict[str, Any], is_lenient: bool
) -> None:
    prompt = _prompt(make(**more))
    assert prompt.json_schema == _SCHEMA
    assert prompt.lenient_schema is is_lenient


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_gguf(tmp_path / "m.gguf")
    # On a busy machine a worker may take longer to start than headers wait for it.
    return await aiohttp_client(make_app(tmp_path, header_hold_seconds=60))


_WEB = {"type": "web_search"}
_LEFT_OUT = "tools[0] 'web_search' is left out: only tools of type 'function' are supported"
_NOT_ENFORCED = "json_schema/format is not enforced"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", chat_body("echo: warn", model="m.gguf")),
        ("/api/v2/chat/m.gguf", chat_body("echo: warn")),
        ("/api/chat", chat_body("echo: warn", model="m.gguf")),
        ("/v1/responses", {"model": "m.gguf", "input": "echo: warn"}),
    ],
)
async def test_warnings_are_in_the_head_of_every_answer_and_in_the_log(
    client: Client, caplog: pytest.LogCaptureFixture, path: str, body: Any, stream: bool
) -> None:
    response = await client.post(path, json=body | {"tools": [_WEB], "stream": stream})
    assert response.status == 200, await response.text()
    assert response.headers[HEADER] == f"{_LEFT_OUT}; {_NOT_ENFORCED}"
    request_id = response.headers["X-Request-Id"]
    assert f"request {request_id}: {_LEFT_OUT}; {_NOT_ENFORCED}" in caplog.messages
    if not path.startswith("/api/v2"):
        return
    documents = (await events(response))[:-1] if stream else [await response.json()]
    assert documents[0]["warnings"] == [_LEFT_OUT, _NOT_ENFORCED]
    assert not any("warnings" in document for document in documents[1:])


async def test_an_answer_without_warnings_has_no_word_of_them(client: Client) -> None:
    for body in (chat_body("echo: a"), chat_body("echo: a", stream=True)):
        response = await client.post("/api/v2/chat/m.gguf", json=body)
        assert HEADER not in response.headers
        assert "warnings" not in await response.text()


async def test_counted_tokens_have_their_warnings_too(client: Client) -> None:
    body = chat_body("echo: a", model="m.gguf", tools=[_WEB])
    response = await client.post("/v1/chat/completions/input_tokens", json=body)
    assert response.headers[HEADER] == _LEFT_OUT


async def test_a_name_of_the_clients_makes_no_line_in_head_or_log(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    tool = {"type": "custom\r\nX-Evil: 1", "name": "é\u2028\x7f"}
    body = chat_body("echo: a", model="m.gguf", tools=[tool])
    response = await client.post("/v1/chat/completions", json=body)
    assert response.status == 200
    assert "X-Evil" not in response.headers
    assert response.headers[HEADER].isascii()
    assert not any("\n" in message for message in caplog.messages)


def test_a_header_is_one_line_of_bounded_length() -> None:
    assert header_text(["a", "b"]) == "a; b"
    assert header_text(["é\n\t"]) == "???"
    many = header_text([f"warning {i}" for i in range(10_000)])
    assert len(many) <= 1000
    assert many.endswith(f"and {10_000 - many.count('warning')} more")
    assert len(header_text(["x" * 10**6, "y"])) <= 1000
