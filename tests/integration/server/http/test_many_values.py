"""Bodies of many small JSON values are refused before they are decoded, in every dialect."""

from pathlib import Path

import pytest

from server.http.body import bodies
from server.http.body.value_limit import MAX_OBJECTS
from tests.support.raw_http import exchange, running

_PATHS = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/responses",
    "/v1/messages",
    "/api/chat",
    "/api/generate",
    "/api/v2/chat",
    "/completion",
    "/infill",
    "/detokenize",
    "/lora-adapters",
]


def _request(method: str, path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


@pytest.mark.parametrize("path", _PATHS)
async def test_a_body_of_too_many_values_is_a_400(tmp_path: Path, path: str) -> None:
    body = b'{"max_tokens":"x","junk":[' + b"[]," * MAX_OBJECTS + b"[]]}"
    async with running(tmp_path) as port:
        status, _, document = await exchange(
            port, _request("POST", path, body, "Connection: close")
        )
    assert status == 400
    assert f"more than {MAX_OBJECTS} objects" in str(document)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/live", 200), ("POST", "/live", 401), ("OPTIONS", "/v1/models", 405)],
)
async def test_a_body_that_no_handler_reads_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, path: str, status: int
) -> None:
    """Clients without a key reach these paths, and could fill memory with bodies."""

    def fail(*_: object) -> None:
        raise AssertionError("the body was unpacked")

    monkeypatch.setattr(bodies, "unpack", fail)
    data = _request(method, path, b"x" * 100, "Content-Encoding: gzip", "Connection: close")
    async with running(tmp_path, api_keys=("right",)) as port:
        answered, _, _ = await exchange(port, data)
    assert answered == status
