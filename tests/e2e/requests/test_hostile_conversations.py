"""A conversation that takes long to render, or never ends, costs its own client only."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.support.server_process import TINY, ServerProcess, until

pytestmark = pytest.mark.e2e

N_CTX = 2048
TRAP = "trap"
# Endless if the last message is the trap. Templates come with a model's file, from strangers.
TEMPLATE = (
    f"{{% if messages[-1].content == '{TRAP}' %}}"
    "{% for i in range(1000) %}{% for j in range(1000) %}{% for k in range(1000) %}{{ i }}"
    "{% endfor %}{% endfor %}{% endfor %}{% endif %}"
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}</>{% endfor %}"
)
EMPTY = {"role": "user", "content": ""}
HELLO = {"role": "user", "content": "hello"}
CALL = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOLS = [{"type": "function", "function": {"name": f"f{number}"}} for number in range(5000)]


def chat(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": TINY, "messages": list(messages), "max_tokens": 4, **fields}


def conversations(n: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """A path and a body of each dialect, with `n` empty messages, parts or tool calls."""
    part = {"type": "text", "text": ""}
    calls = [{**CALL, "id": f"call{number}"} for number in range(n)]
    empty = chat(*[EMPTY] * n)
    return {
        "openai": ("/v1/chat/completions", empty),
        "parts": ("/v1/chat/completions", chat({"role": "user", "content": [part] * n})),
        "calls": (
            "/v1/chat/completions",
            chat(HELLO, {"role": "assistant", "tool_calls": calls}, HELLO),
        ),
        "v2": (f"/api/v2/chat/{TINY}", {"messages": [EMPTY] * n}),
        "anthropic": ("/v1/messages", empty),
        "responses": ("/v1/responses", {"model": TINY, "input": [EMPTY] * n}),
        "ollama": ("/api/chat", {**empty, "stream": False}),
        "a template only": ("/apply-template", empty),
    }


# Texts of one message are joined, so empty ones may have fewer tokens than there are parts.
TOO_LONG = {name: one for name, one in conversations(N_CTX + 1).items() if name != "parts"}
TOO_MANY = conversations(20_000)
FAR_TOO_MANY = conversations(100_001)
VARIABLES = {f"k{number}": number for number in range(100_000)}
BEYOND_A_LIMIT = {
    "openai": ("/v1/chat/completions", chat(HELLO, chat_template_kwargs=VARIABLES)),
    "v2": (
        f"/api/v2/chat/{TINY}",
        {"messages": [HELLO], "chat_template_kwargs": VARIABLES},
    ),
    "a template only": ("/apply-template", chat(HELLO, chat_template_kwargs=VARIABLES)),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("models")) as process:
        settings = {"n_ctx": N_CTX, "threads": 1, "chat_template": TEMPLATE}
        process.post(f"/api/v2/models/{TINY}/load", settings)
        yield process


def start(server: ServerProcess, body: dict[str, Any], key: str) -> http.client.HTTPConnection:
    """Send a chat of the client `key`, and read nothing yet."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    return connection


def n_waiting(server: ServerProcess) -> int:
    waiting: int = server.engine()["waiting"]
    return waiting


@pytest.mark.parametrize(("path", "body"), TOO_LONG.values(), ids=TOO_LONG.keys())
def test_more_messages_than_the_context_has_tokens_are_too_long(
    server: ServerProcess, path: str, body: dict[str, Any]
) -> None:
    status, document = server.request("POST", path, body)
    assert status == 400, document
    assert str(N_CTX) in json.dumps(document)


@pytest.mark.parametrize(("path", "body"), TOO_MANY.values(), ids=TOO_MANY.keys())
def test_20_000_messages_are_refused_before_they_are_converted(
    server: ServerProcess, path: str, body: dict[str, Any]
) -> None:
    status, document = server.request("POST", path, body)
    assert status == 400, document
    assert "the limit of a request is 16384" in json.dumps(document)


@pytest.mark.parametrize(("path", "body"), FAR_TOO_MANY.values(), ids=FAR_TOO_MANY.keys())
def test_100_000_messages_are_refused_before_they_are_decoded(
    server: ServerProcess, path: str, body: dict[str, Any]
) -> None:
    status, document = server.request("POST", path, body)
    assert status == 400, document
    assert "more than 262144 objects, lists, texts" in json.dumps(document)


@pytest.mark.parametrize(("path", "body"), BEYOND_A_LIMIT.values(), ids=BEYOND_A_LIMIT.keys())
def test_100_000_variables_are_refused_by_name(
    server: ServerProcess, path: str, body: dict[str, Any]
) -> None:
    status, document = server.request("POST", path, body)
    assert status == 400, document
    assert "chat_template_kwargs: 100000 variables, the limit is 128" in json.dumps(document)


def test_too_many_tools_are_refused_by_name(server: ServerProcess) -> None:
    status, document = server.request("POST", "/v1/chat/completions", chat(HELLO, tools=TOOLS))
    assert (status, document["error"]["param"]) == (400, "tools")


def test_others_pass_an_endless_conversation_that_ends_with_a_sentence(
    server: ServerProcess,
) -> None:
    with closing(start(server, chat({"role": "user", "content": TRAP}), "hostile")) as hostile:
        until(lambda: n_waiting(server) == 1, "the endless conversation is counted as waiting")
        with closing(start(server, chat(HELLO), "honest")) as honest:
            assert honest.getresponse().status == 200
        assert n_waiting(server) == 1, "the honest answer came first"
        response = hostile.getresponse()
        error = json.loads(response.read())["error"]
    assert (response.status, error["param"]) == (400, "messages")
    assert "took longer than 10 s" in error["message"]


def test_one_caller_cannot_take_all_threads(server: ServerProcess) -> None:
    traps = [start(server, chat({"role": "user", "content": TRAP}), "hostile") for _ in range(12)]
    until(lambda: n_waiting(server) == len(traps), "all of them wait")
    with closing(start(server, chat(HELLO), "honest")) as honest:
        assert honest.getresponse().status == 200
    assert n_waiting(server) > 0, "the honest answer came first"
    for trap in traps:
        trap.close()
    until(lambda: n_waiting(server) == 0, "they are given up once their client has gone")
