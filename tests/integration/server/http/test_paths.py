"""Paths in other spellings, the root, and errors in the form of the path's dialect."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from pytest_aiohttp.plugin import AiohttpClient

from server.http.paths import plain_path
from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, make_app


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    (tmp_path / "sub").mkdir()
    write_gguf(tmp_path / "m.gguf")
    write_gguf(tmp_path / "sub" / "n.gguf")
    return await aiohttp_client(make_app(tmp_path))


async def _send(client: Client, method: str, path: str, **options: Any) -> ClientResponse:
    """Send a request with the path exactly as it is written; its whole answer."""
    url = client.make_url("/").with_path(path, encoded=True)
    async with client.session.request(method, url, **options) as response:
        await response.read()
        return response


def test_a_plain_path_has_single_slashes() -> None:
    paths = ("", "/", "//", "/a", "/a/", "//a///b//", "/a%2F/b")
    assert [plain_path(path) for path in paths] == ["/", "/", "/", "/a", "/a", "/a/b", "/a%2F/b"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/",
        "/v1//models/",
        "//v1/models",
        "/v1/models//",
        "/v1/models/m.gguf/",
        "/v1//models/sub//n.gguf",
        "/v1/models/sub%2Fn.gguf/",
        "/api/v2/models//m.gguf",
        "/api//tags/",
        "/health/",
        "//",
    ],
)
async def test_another_spelling_of_a_path_is_that_path(client: Client, path: str) -> None:
    response = await _send(client, "GET", path)
    assert response.status == 200, await response.text()


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions/",
        "/v1//chat/completions",
        "/api/v2/chat/m.gguf/",
        "/api/v2/chat//m.gguf/stream/",
        "/api/chat/",
        "//v1/messages//",
    ],
)
async def test_a_body_is_answered_at_another_spelling(client: Client, path: str) -> None:
    body = chat_body("echo: a", model="m.gguf", max_tokens=5)
    response = await _send(client, "POST", path, json=body)
    assert response.status == 200, await response.text()


async def test_the_checks_of_a_path_hold_for_its_other_spellings(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    app = make_app(tmp_path, api_keys=("a",), admin_keys=("b",), api_prefix="/llm")
    client = await aiohttp_client(app)
    for path in ("/llm/v1/models/", "/llm//v1/models", "/llm//nothing/"):
        assert (await _send(client, "GET", path)).status == 401, path
    ordinary = {"Authorization": "Bearer a"}
    load = "/llm//api/v2/models/m.gguf/load/"
    assert (await _send(client, "POST", load, headers=ordinary)).status == 403
    assert (await _send(client, "GET", "/llm//v1/models", headers=ordinary)).status == 200
    for path in ("/llm", "/llm/", "/llm//health"):
        assert (await _send(client, "GET", path)).status == 200, path


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_root_says_that_the_server_runs(client: Client, method: str) -> None:
    response = await client.request(method, "/")
    assert (response.status, response.content_type) == (200, "text/plain")
    assert await response.text() == ("llamabind is running" if method == "GET" else "")


@pytest.mark.parametrize(
    ("method", "path", "data", "status"),
    [
        ("POST", "/api/chat", "{", 400),
        ("POST", "/api/chat/", "{", 400),
        ("POST", "/api//embeddings", "[]", 400),
        ("POST", "/api/generate", '{"model": "nothing"}', 404),
        ("GET", "/api/nothing", None, 404),
        ("POST", "/api/pull/it", "{}", 404),
        ("GET", "/api", None, 404),
        ("GET", "/api/v20/models", None, 404),
        ("GET", "/api/chat", None, 405),
        ("DELETE", "/api/tags", None, 405),
        ("POST", "/api//tags/", None, 405),
        ("POST", "/api/chat", " " * (2 << 20), 413),
        ("POST", "/api/nothing", " " * (2 << 20), 413),
    ],
)
async def test_every_error_below_api_is_ollamas(
    aiohttp_client: AiohttpClient,
    tmp_path: Path,
    method: str,
    path: str,
    data: str | None,
    status: int,
) -> None:
    write_gguf(tmp_path / "m.gguf")
    for prefix in ("", "/llm"):
        client = await aiohttp_client(make_app(tmp_path, max_body_mb=1, api_prefix=prefix))
        response = await _send(client, method, prefix + path, data=BytesIO((data or "").encode()))
        document = await response.json()
        assert (response.status, type(document["error"])) == (status, str), document
        assert document["error"]


@pytest.mark.parametrize(
    "path", ["/api/v2", "/api/v2/nothing", "/v1/api/nothing", "/v1/models/api/x", "/nothing"]
)
async def test_errors_elsewhere_are_openais(client: Client, path: str) -> None:
    document: Any = await (await client.get(path)).json()
    assert document["error"]["message"]


async def test_a_body_may_begin_with_a_byte_order_mark(client: Client) -> None:
    for path in ("/v1/chat/completions", "/api/chat", "/v1/messages"):
        body = b'\xef\xbb\xbf{"model": "m.gguf", "max_tokens": 5, "stream": false, "messages": '
        body += b'[{"role": "user", "content": "echo: a"}]}'
        response = await client.post(path, data=body)
        assert response.status == 200, await response.text()
