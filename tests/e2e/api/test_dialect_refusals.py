"""In every dialect a request that no model could answer is a 400 that names field and fault."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e

_PLAIN_TEMPLATE = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
_PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
_FUNCTION = {"name": "get_weather", "parameters": _PARAMETERS}
_TOOLS = [{"type": "function", "function": _FUNCTION}]
_HELLO = {"role": "user", "content": "hello"}

_CHAT: dict[str, dict[str, Any]] = {
    f"/api/v2/chat/{TINY}": {"n_predict": 8},
    "/v1/chat/completions": {"model": TINY, "max_tokens": 8},
    "/v1/messages": {"model": TINY, "max_tokens": 8},
    "/v1/responses": {"model": TINY, "max_output_tokens": 16},
    "/api/chat": {"model": TINY, "stream": False, "options": {"num_predict": 8}},
}
_OPENAI = (f"/api/v2/chat/{TINY}", "/v1/chat/completions")


def _tools(path: str) -> list[dict[str, Any]]:
    match path:
        case "/v1/messages":
            return [{"name": "get_weather", "input_schema": _PARAMETERS}]
        case "/v1/responses":
            return [{"type": "function"} | _FUNCTION]
        case _:
            return _TOOLS


def _body(path: str, *messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    field = "input" if path == "/v1/responses" else "messages"
    return _CHAT[path] | {field: [_HELLO, *messages]} | more


def _refusal(server: ServerProcess, path: str, body: dict[str, Any]) -> tuple[str, str]:
    """The field and the message of a 400 response."""
    status, document = server.request("POST", path, body)
    assert status == 400, document
    if path == "/api/chat":  # Ollama's errors are a text
        return document["param"], document["error"]
    error = document["error"]
    assert error["type"] == "invalid_request_error"
    return error["param"], error["message"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("models")) as process:
        process.post(f"/api/v2/models/{TINY}/load", {"threads": 1})
        yield process


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a chat template without tool calls."""
    with ServerProcess(tmp_path_factory.mktemp("plain")) as process:
        settings = {"threads": 1, "chat_template": _PLAIN_TEMPLATE}
        process.post(f"/api/v2/models/{TINY}/load", settings)
        yield process


@pytest.mark.parametrize("path", [path for path in _CHAT if path != "/api/chat"])
def test_a_grammar_and_tools_are_refused_together(server: ServerProcess, path: str) -> None:
    grammar = 'root ::= "a"'
    param, message = _refusal(server, path, _body(path, tools=_tools(path), grammar=grammar))
    assert param == "grammar"
    assert "together with tools" in message


@pytest.mark.parametrize("path", _CHAT)
@pytest.mark.parametrize(
    ("message", "field"),
    [({"role": "nobody", "content": "x"}, "role"), ({"role": "user", "content": 5}, "content")],
)
def test_a_wrong_message_is_named(
    server: ServerProcess, path: str, message: dict[str, Any], field: str
) -> None:
    param, text = _refusal(server, path, _body(path, message))
    assert param == ("input" if path == "/v1/responses" else "messages") + f"[1].{field}"
    assert param in text


def _openai_call(arguments: str) -> dict[str, Any]:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


_BROKEN_CALLS = [
    *((path, _openai_call("{"), "messages[1].tool_calls[0]") for path in _OPENAI),
    (
        "/v1/messages",
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "input": {}}]},
        "messages[1].content[0]",
    ),
    (
        "/v1/responses",
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{"},
        "input[1]",
    ),
    (
        "/v1/responses",
        {"type": "function_call_output", "call_id": "unknown", "output": "x"},
        "input[1]",
    ),
    (
        "/api/chat",
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"arguments": {}}}]},
        "messages[1].tool_calls[0]",
    ),
]


@pytest.mark.parametrize(("path", "message", "where"), _BROKEN_CALLS)
def test_a_broken_tool_call_in_the_history_is_a_warning_that_names_it(
    server: ServerProcess, path: str, message: dict[str, Any], where: str
) -> None:
    headers = server.post_headers(path, _body(path, message))
    assert f"{where}: " in headers["X-Llamabind-Warnings"]


@pytest.mark.parametrize("path", _CHAT)
def test_tools_with_a_template_without_tool_calls_are_answered(
    plain_server: ServerProcess, path: str
) -> None:
    plain_server.post(path, _body(path, tools=_tools(path)))
    rendered = plain_server.post(
        "/apply-template", {"model": TINY, "messages": [_HELLO], "tools": _TOOLS}
    )
    assert '"name": "get_weather"' in rendered["prompt"]


@pytest.mark.parametrize("path", _OPENAI)
def test_a_call_can_be_required_with_a_template_without_tool_calls(
    plain_server: ServerProcess, path: str
) -> None:
    more = {"tools": _TOOLS, "tool_choice": "required", "parallel_tool_calls": False}
    body = _body(path, **more) | {"max_tokens": 200, "n_predict": 200, "temperature": 0}
    [choice] = plain_server.post(path, body)["choices"]
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "get_weather"


@pytest.mark.parametrize("path", _OPENAI)
def test_tools_with_tool_choice_none_are_accepted_by_every_template(
    plain_server: ServerProcess, path: str
) -> None:
    answer = plain_server.post(path, _body(path, tools=_TOOLS, tool_choice="none"))
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")
    assert "tool_calls" not in answer["choices"][0]["message"]
