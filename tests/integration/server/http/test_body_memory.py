"""Large bodies of one client wait for each other, and delay neither small nor others' bodies."""

import asyncio
import json
from pathlib import Path

import pytest

from server.http.connections import Connection
from tests.support.raw_http import exchange, running
from tests.support.server_app import chat_body, pause

_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"


async def _upload(port: int, key: bytes) -> asyncio.StreamWriter:
    """Begin a body of a megabyte that never ends."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_HEAD + b"X-Api-Key: " + key + b"\r\nContent-Length: 1048576\r\n\r\n{")
    await writer.drain()
    return writer


def _chat(key: bytes, padding: int) -> bytes:
    body = json.dumps(chat_body("hello", model="m.gguf")).encode() + b" " * padding
    head = b"X-Api-Key: " + key + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    return _HEAD + head + body


async def test_unfinished_large_bodies_delay_only_large_ones_of_their_key(tmp_path: Path) -> None:
    async with running(tmp_path, api_keys=("greedy", "modest"), max_body_mb=1) as port:
        writers = [await _upload(port, b"greedy") for _ in range(16)]
        assert (await exchange(port, _chat(b"greedy", 0)))[0] == 200
        waiting = asyncio.create_task(exchange(port, _chat(b"greedy", 500_000)))
        assert (await exchange(port, _chat(b"modest", 500_000)))[0] == 200
        assert not waiting.done()
        for writer in writers:
            writer.close()
        assert (await waiting)[0] == 200


async def _hold(port: int, key: bytes) -> asyncio.StreamWriter:
    """A chat with a body of a megabyte whose answer has no end; returns once it has begun."""
    body = json.dumps(chat_body("forever", model="m.gguf", stream=True)).encode().ljust(1 << 20)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_HEAD + b"X-Api-Key: " + key + b"\r\nContent-Length: 1048576\r\n\r\n" + body)
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
    await reader.readuntil(b"data: ")
    return writer


async def test_a_large_body_that_finds_no_memory_in_time_is_a_503(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.http.body.bodies._BODIES_AT_ONCE", 2)
    settings = {"api_keys": ("greedy", "modest"), "max_body_mb": 1, "client_seconds": 4.0}
    async with running(tmp_path, **settings) as port:
        writer = await _hold(port, b"greedy")
        status, headers, document = await exchange(port, _chat(b"greedy", 500_000))
        assert status == 503
        error = document["error"]
        assert error["code"] == "too_many_bodies"
        assert "(2 MB together, half of it for one client)" in error["message"]
        assert int(headers["retry-after"]) > 0
        assert headers["connection"] == "close"
        assert (await exchange(port, _chat(b"greedy", 0)))[0] == 200
        assert (await exchange(port, _chat(b"modest", 500_000)))[0] == 200
        writer.close()
        while (await exchange(port, _chat(b"greedy", 500_000)))[0] != 200:
            await pause()


def _in_chunks_of_one_byte(body: bytes) -> bytes:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    return _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


async def test_a_body_in_tiny_chunks_is_answered_up_to_a_number_of_them(tmp_path: Path) -> None:
    body = json.dumps(chat_body("hello", model="m.gguf")).encode()
    async with running(tmp_path) as port:
        few = _in_chunks_of_one_byte(body.ljust(15_000))
        assert (await exchange(port, few))[0] == 200
        many = _in_chunks_of_one_byte(body.ljust(200_000))
        status, headers, document = await exchange(port, many)
    assert status == 400
    assert document["error"]["code"] == "tiny_chunks"
    assert "more than 16384 chunks of 1.0 bytes" in document["error"]["message"]
    assert headers["connection"] == "close"


async def test_a_body_in_tiny_chunks_without_a_key_is_refused_at_once(tmp_path: Path) -> None:
    many = _in_chunks_of_one_byte(b"x" * 100_000)
    async with running(tmp_path, api_keys=("key",)) as port:
        assert (await exchange(port, many))[0] == 401


async def test_bytes_are_received_in_small_portions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohttp parses a portion without pause."""
    sizes: list[int] = []
    receive = Connection.data_received

    def record(connection: Connection, data: bytes) -> None:
        sizes.append(len(data))
        receive(connection, data)

    monkeypatch.setattr(Connection, "data_received", record)
    body = json.dumps(chat_body("hello", model="m.gguf")).encode().ljust(200_000)
    head = _HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
    async with running(tmp_path) as port:
        status, _, _ = await exchange(port, head + body)
    assert status == 200
    assert max(sizes) <= 1 << 15
