"""Clients that close their end for writing after a request, as `nc -N` does, and then read."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.raw_http import listening
from tests.support.server_app import chat_body, pause

_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
_CHAT = chat_body("echo: one two three", model="m.gguf")
_ENDLESS = chat_body("forever", model="m.gguf")
_STREAM = {"stream": True}
_PROMPT = {"model": "m.gguf", "prompt": "echo: one two three"}
# Path, body and the end of the answer.
_POSTS: list[tuple[str, dict[str, Any], bytes]] = [
    ("/tokenize", {"model": "m.gguf", "content": "a b"}, b"}"),
    ("/v1/chat/completions", _CHAT, b"}"),
    ("/v1/chat/completions", _CHAT | _STREAM, b"data: [DONE]"),
    ("/v1/completions", _PROMPT | _STREAM, b"data: [DONE]"),
    ("/v1/responses", {"model": "m.gguf", "input": "echo: one"} | _STREAM, b"}"),
    ("/v1/messages", _CHAT | _STREAM | {"max_tokens": 9}, b'{"type":"message_stop"}'),
    ("/api/v2/chat/m.gguf/stream", chat_body("echo: one"), b"data: [DONE]"),
    ("/api/chat", _CHAT, b"}"),
    ("/api/generate", _PROMPT, b"}"),
    ("/completion", _PROMPT | _STREAM, b"}"),
    ("/api/pull", {"model": "m.gguf"}, b'{"status":"success"}'),
    ("/api/v2/models/m.gguf/load", {}, b"}"),
    ("/api/v2/models/m.gguf/load?stream=true", {}, b"}"),
    ("/api/v2/models/m.gguf/unload", {}, b"}"),
]


def _request(method: str, path: str, body: Any = None, version: str = "1.1") -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/{version}\r\nHost: localhost\r\nContent-Length: {len(data)}"
    return head.encode() + b"\r\n\r\n" + data


class _Client:
    """A client over plain sockets."""

    def __init__(self, url: str) -> None:
        if url.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(url.removeprefix("unix:"))
        else:
            self.socket = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])))
        self.socket.setblocking(False)

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    async def answer(self) -> bytes:
        """All that the server sends until it closes, without interim answers."""
        received = b""
        async with asyncio.timeout(60):
            while data := await self.read_some():
                received += data
        return received.replace(_INTERIM, b"")

    async def read_some(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16)


@asynccontextmanager
async def _client(url: str) -> AsyncIterator[_Client]:
    client = _Client(url)
    try:
        yield client
    finally:
        client.socket.close()


@pytest.fixture(params=["tcp", "unix"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    hosts = ("127.0.0.1" if request.param == "tcp" else str(tmp_path / "s.sock"),)
    async with listening(tmp_path, hosts=hosts) as url:
        yield url


async def _logged(caplog: pytest.LogCaptureFixture, start: str) -> None:
    """Wait for a line of the access log."""
    async with asyncio.timeout(60):
        while not any(line.startswith(start) for line in caplog.messages):
            await pause()


async def _metrics(url: str) -> str:
    async with _client(url) as client:
        client.socket.send(_request("GET", "/metrics"))
        client.half_close()
        return (await client.answer()).decode()


async def _runs(url: str, n: int) -> None:
    """Wait until so many requests are running."""
    line = f'llamabind_requests_running{{model="m.gguf"}} {n}.0'
    async with asyncio.timeout(60):
        while line not in await _metrics(url):
            await pause()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_request_without_a_body_is_answered(url: str, method: str, version: str) -> None:
    async with _client(url) as client:
        client.socket.send(_request(method, "/v1/models", version=version))
        client.half_close()
        answer = await client.answer()
    assert answer.split(b" ")[1] in (b"200", b"405")


@pytest.mark.parametrize("is_early", [True, False])
async def test_every_kind_of_answer_arrives(url: str, *, is_early: bool) -> None:
    for path, body, end in _POSTS:
        data = _request("POST", path, body)
        async with _client(url) as client:
            if is_early:  # the server accepts the connection only after it was half closed
                client.socket.send(data)
            else:
                client.socket.send(data[:-1])
                async with _client(url) as other:
                    other.socket.send(_request("GET", "/live"))
                    other.half_close()
                    assert b" 200 " in await other.answer()
                client.socket.send(data[-1:])
            client.half_close()
            answer = await client.answer()
        assert answer.startswith(b"HTTP/1.1 200 OK"), (path, answer)
        last = answer.removesuffix(b"0\r\n\r\n").rstrip()
        assert last.endswith(end), (path, answer)


async def test_all_requests_sent_before_the_end_are_answered(url: str) -> None:
    async with _client(url) as client:
        client.socket.send(_request("POST", "/v1/chat/completions", _CHAT) * 3)
        client.half_close()
        assert (await client.answer()).count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
async def test_a_client_that_goes_later_frees_its_slot(
    url: str, path: str, caplog: pytest.LogCaptureFixture, *, stream: bool
) -> None:
    caplog.set_level(logging.INFO, logger="server.http.access")
    async with _client(url) as client:
        client.socket.send(_request("POST", path, _ENDLESS | {"stream": stream}))
        client.half_close()
        await _runs(url, 1)
    await _logged(caplog, f"POST {path} ")
    await _runs(url, 0)


async def test_a_client_that_has_sent_a_part_of_its_body_is_not_kept(url: str) -> None:
    async with _client(url) as client:
        client.socket.send(_request("POST", "/v1/chat/completions", _CHAT)[:-1])
        client.half_close()
        assert b"HTTP/1.1 200" not in await client.answer()


async def test_an_http_1_0_client_over_tcp_counts_as_gone(tmp_path: Path) -> None:
    async with listening(tmp_path) as url, _client(url) as client:
        client.socket.send(_request("POST", "/v1/chat/completions", _CHAT, version="1.0"))
        client.half_close()
        with suppress(ConnectionResetError):
            assert await client.answer() == b""
