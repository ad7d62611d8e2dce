"""Recorded requests of coding agents with default settings are answered.

The folder requests/ has them with the recorded keys, schemas and order; texts are replaced by
filler and cut to 80 characters. The tests only add a limit on the length of the answer.
"""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e

_REQUESTS = Path(__file__).with_name("requests")
_HEADER = "X-Llamabind-Warnings"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("agents")) as process:
        process.post(f"/api/v2/models/{TINY}/load", {"n_ctx": 32_768, "n_parallel": 1})
        yield process


def _recorded(name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((_REQUESTS / f"{name}.json").read_text())
    return body | {"model": TINY}


def _post(server: ServerProcess, path: str, body: Any) -> tuple[str, str]:
    """The body of the response, which must be a 200, and its warnings header."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=110)) as connection:
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status == 200, text
        return text, response.headers.get(_HEADER, "")


def _events(text: str) -> list[Any]:
    data = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(item) for item in data if item != "[DONE]"]


def test_a_chat_with_many_tools_is_answered(server: ServerProcess) -> None:
    body = _recorded("chat-coding-agent-2") | {"max_tokens": 40}
    text, warnings = _post(server, "/v1/chat/completions", body)
    events = _events(text)
    assert text.endswith("data: [DONE]\n\n")
    assert not any("error" in event for event in events)
    assert events[-1]["usage"]["completion_tokens"] > 0
    assert warnings == ""


def test_messages_with_a_script_parameter_of_half_a_megabyte_are_answered(
    server: ServerProcess,
) -> None:
    body = _recorded("messages-coding-agent-1") | {"max_tokens": 40}
    text, warnings = _post(server, "/v1/messages", body)
    document = json.loads(text)
    assert document["type"] == "message"
    assert document["usage"]["output_tokens"] > 0
    assert "/properties/script/maxLength is not enforced: 524288" in warnings
    assert "/properties/url/format is not enforced: a grammar cannot express 'uri'" in warnings
    # propertyNames that allow any string restrict nothing, so there is no warning.
    assert "propertyNames" not in warnings


def test_streamed_messages_with_a_reasoning_budget_are_answered(server: ServerProcess) -> None:
    body = _recorded("messages-coding-agent-2") | {"max_tokens": 40}
    text, warnings = _post(server, "/v1/messages", body)
    kinds = [event["type"] for event in _events(text)]
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert "content_block_delta" in kinds
    assert warnings == ""


def test_a_response_with_tools_other_than_functions_is_answered(server: ServerProcess) -> None:
    body = _recorded("responses-coding-agent-1") | {"max_output_tokens": 40}
    text, warnings = _post(server, "/v1/responses", body)
    last = _events(text)[-1]
    assert last["type"] in ("response.completed", "response.incomplete")
    assert last["response"]["usage"]["output_tokens"] > 0
    assert "namespace" not in warnings
    assert "tools[8] 'web_search' is left out" in warnings
    assert {tool["type"] for tool in last["response"]["tools"]} == {"function", "namespace"}
    assert len(last["response"]["tools"]) == len(body["tools"]) - 1
