"""Warnings about parts of a request that are left out: the header, the log, the documents of v2."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.http.warnings_header import HEADER
from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, events, make_app, pause

_WEB = {"type": "web_search"}
_LEFT_OUT = "tools[0] 'web_search' is left out: only functions and custom tools are supported"
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
async def test_warnings_are_in_the_header_of_every_answer_and_in_the_log(
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


async def test_warnings_that_arrive_after_the_headers_are_logged(
    aiohttp_client: AiohttpClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path, header_hold_seconds=0.001))
    body = chat_body("echo: warn", model="m.gguf", tools=[_WEB], stream=True)
    response = await client.post("/v1/chat/completions", json=body)
    assert response.headers[HEADER] == _LEFT_OUT
    assert (await events(response))[-1] == "[DONE]"
    prefix = f"request {response.headers['X-Request-Id']}: "

    def logged() -> list[str]:
        return [text for text in caplog.messages if text.startswith(prefix)]

    # The client may have the end of the stream before the server logs.
    async with asyncio.timeout(20):
        while len(logged()) < 2:
            await pause()
    assert logged() == [prefix + _LEFT_OUT, prefix + _NOT_ENFORCED]


async def test_an_answer_without_warnings_has_neither_header_nor_field(client: Client) -> None:
    for body in (chat_body("echo: a"), chat_body("echo: a", stream=True)):
        response = await client.post("/api/v2/chat/m.gguf", json=body)
        assert HEADER not in response.headers
        assert "warnings" not in await response.text()


async def test_a_token_count_has_the_warnings_header_too(client: Client) -> None:
    body = chat_body("echo: a", model="m.gguf", tools=[_WEB])
    response = await client.post("/v1/chat/completions/input_tokens", json=body)
    assert response.headers[HEADER] == _LEFT_OUT


async def test_a_tool_name_cannot_add_lines_to_the_headers_or_the_log(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    tool = {"type": "custom\r\nX-Evil: 1", "name": "é\u2028\x7f"}
    body = chat_body("echo: a", model="m.gguf", tools=[tool])
    response = await client.post("/v1/chat/completions", json=body)
    assert response.status == 200
    assert "X-Evil" not in response.headers
    assert response.headers[HEADER].isascii()
    assert not any("\n" in message for message in caplog.messages)
