"""Malformed requests: every answer is JSON, and the server keeps running."""

import asyncio
import gzip
import json
import logging
from pathlib import Path

import pytest

from tests.support.raw_http import exchange, running
from tests.support.server_app import chat_body, pause

_H = b"Host: localhost\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + _H + b"\r\n", 400),
        (b"GET /health HTTP/1.1\r\n" + _H + b"X: " + b"a" * 9000 + b"\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n" + _H + b"A: b\r\n" * 500 + b"\r\n", 400),
        (b"G{}T /health HTTP/1.1\r\n" + _H + b"\r\n", 400),
        (b"GET /health HTTP/9.9\r\n" + _H + b"\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n" + _H + b"Bad Header: x\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n" + _H + b"NoColon\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n" + _H + b"X: a\x00b\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n" + _H + _H + b"\r\n", 400),
        (b"POST /v1/chat/completions HTTP/1.1\r\n" + _H + b"Content-Length: -1\r\n\r\n", 400),
        (b"POST /v1/chat/completions HTTP/1.1\r\n" + _H + b"Content-Length: x\r\n\r\n", 400),
        (
            b"POST /v1/chat/completions HTTP/1.1\r\n"
            + _H
            + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            b"POST /v1/chat/completions HTTP/1.1\r\n"
            + _H
            + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
            400,
        ),
        (
            b"POST /v1/chat/completions HTTP/1.1\r\n"
            + _H
            + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
            400,
        ),
        (b"GET /health HTTP/1.1\r\n" + _H + b"Expect: the-unexpected\r\n\r\n", 417),
        (b"OPTIONS * HTTP/1.1\r\n" + _H + b"\r\n", 404),
        (b"CONNECT example.org:443 HTTP/1.1\r\n" + _H + b"\r\n", 404),
        (b"GET http://evil.example/health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        (b"GET /%00%ff%zz HTTP/1.1\r\n" + _H + b"\r\n", 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\n" + _H + b"\r\n", 404),
        (b"PROPFIND /health HTTP/1.1\r\n" + _H + b"\r\n", 405),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
    ids=lambda value: repr(value[:60]) if isinstance(value, bytes) else None,
)
async def test_a_malformed_request_gets_a_json_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes, status: int
) -> None:
    async with running(tmp_path) as port:
        got, headers, document = await exchange(port, data)
        assert got == status, document
        assert headers["content-type"].startswith("application/json")
        error = document["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert "Traceback" not in error["message"]
        healthy = b"GET /health HTTP/1.1\r\n" + _H + b"Connection: close\r\n\r\n"
        assert (await exchange(port, healthy))[0] == 200
    # Anybody can send such: it must not fill the log with errors.
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"HEAD"])
@pytest.mark.parametrize("action", [b"load", b"unload"])
async def test_other_methods_of_an_action_are_405_with_what_is_allowed(
    tmp_path: Path, method: bytes, action: bytes
) -> None:
    async with running(tmp_path) as port:
        line = method + b" /api/v2/models/m.gguf/" + action + b" HTTP/1.1\r\n"
        status, headers, _ = await exchange(port, line + _H + b"Connection: close\r\n\r\n")
    assert status == 405
    assert headers["allow"] == "post"


async def test_a_body_over_the_limit_is_413(tmp_path: Path) -> None:
    body = b"x" * ((1 << 20) + 1)
    head = b"POST /v1/chat/completions HTTP/1.1\r\n" + _H
    async with running(tmp_path, max_body_mb=1) as port:
        status, headers, document = await exchange(
            port, head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
    assert status == 413
    assert document["error"]["code"] == "request_too_large"
    assert headers["connection"] == "close"


async def test_a_small_body_that_unpacks_to_a_large_one_is_413(tmp_path: Path) -> None:
    body = gzip.compress(b" " * (8 << 20))
    head = b"POST /v1/chat/completions HTTP/1.1\r\n" + _H + b"Content-Encoding: gzip\r\n"
    async with running(tmp_path, max_body_mb=1) as port:
        status, _, document = await exchange(
            port, head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
    assert status == 413, document


async def test_a_body_that_does_not_come_is_408(tmp_path: Path) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\n" + _H + b"Content-Length: 100\r\n\r\n{"
    async with running(tmp_path, client_seconds=0.05) as port:
        status, headers, document = await exchange(port, head)
    assert status == 408
    assert document["error"]["code"] == "body_too_slow"
    assert headers["connection"] == "close"


@pytest.mark.parametrize("data", [b"", b"GET /hea", b"GET /health HTTP/1.1\r\nHost: local"])
async def test_a_head_that_does_not_come_ends_the_connection(tmp_path: Path, data: bytes) -> None:
    async with running(tmp_path, keepalive_seconds=0.05) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()


async def test_one_connection_too_many_gets_an_error(tmp_path: Path) -> None:
    healthy = b"GET /health HTTP/1.1\r\n" + _H + b"\r\n"
    async with running(tmp_path, max_connections=1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(healthy)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        status, headers, document = await exchange(port, b"")
        assert status == 503
        assert headers["retry-after"] == "1"
        assert document["error"]["code"] == "too_many_connections"
        writer.close()


async def test_the_access_log_has_requests_without_their_text_and_keys(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="server.http.access")
    body = json.dumps(chat_body("echo: rosebud")).encode()
    request = (
        b"POST /api/v2/chat/m.gguf?token=sesame HTTP/1.1\r\nConnection: close\r\n"
        + _H
        + b"X-Api-Key: opensesame\r\nX-Request-Id: my-id\r\n"
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )
    async with running(tmp_path, api_keys=("opensesame",)) as port:
        assert (await exchange(port, request))[0] == 200
    [record] = [record for record in caplog.records if record.name == "server.http.access"]
    line = record.getMessage()
    assert line.startswith("POST /api/v2/chat/m.gguf 200 ms=")
    assert "request_id=my-id" in line
    assert "model=m.gguf prompt_tokens=5 cached_tokens=2 completion_tokens=1 ttft_ms=" in line
    assert "caller=key-" in line
    assert "sesame" not in line
    assert "rosebud" not in line
    assert record.__dict__["fields"]["status"] == 200


@pytest.mark.parametrize("path", ["/api/v2/chat/m.gguf", "/api/v2/chat/m.gguf/stream"])
async def test_a_client_that_disconnects_has_a_line_in_the_access_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level(logging.INFO, logger="server.http.access")
    body = json.dumps(chat_body("forever")).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: disconnecting\r\n"
    async with running(tmp_path) as port, asyncio.timeout(20):
        await exchange(port, _request(b"/api/v2/models/m.gguf/load"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        if path.endswith("stream"):
            await reader.readuntil(b"data: ")
        else:
            while not await _runs(port):
                await pause()
        writer.close()
        # The server's end waits for the handler's.
    [record] = [line for line in caplog.records if "request_id=disconnecting" in line.getMessage()]
    line = record.getMessage()
    assert line.startswith(f"POST {path} 499 ms=")
    assert "model=m.gguf prompt_tokens=" in line
    assert record.__dict__["fields"]["status"] == 499


async def _runs(port: int) -> bool:
    """Whether the model computes an answer."""
    shown = b"GET /api/v2/models/m.gguf HTTP/1.1\r\nConnection: close\r\n" + _H + b"\r\n"
    _, _, document = await exchange(port, shown)
    return bool(document["engine"]["running"])


def _request(path: bytes) -> bytes:
    return (
        b"POST " + path + b" HTTP/1.1\r\nConnection: close\r\n" + _H + b"Content-Length: 0\r\n\r\n"
    )
