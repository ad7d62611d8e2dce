"""Access: API keys, admin keys, Host names, web pages of other origins."""

from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.http.api_keys import KeyRing
from server.http.host_check import host_name
from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, make_app

_KEYS: dict[str, Any] = {"api_keys": ("one", "zwei-ü"), "admin_keys": ("boss",)}


async def make_client(aiohttp_client: AiohttpClient, folder: Path, **settings: Any) -> Client:
    write_gguf(folder / "m.gguf")
    return await aiohttp_client(make_app(folder, **settings))


async def ask(client: Client, method: str, path: str, **more: Any) -> tuple[int, Any]:
    async with client.request(method, path, **more) as response:
        text = await response.text()
        if response.status >= 400:
            assert response.content_type == "application/json", text
            error = (await response.json())["error"]
            assert set(error) >= {"message", "type", "param", "code"}
            return response.status, error
        return response.status, text


@pytest.fixture
async def guarded(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    return await make_client(aiohttp_client, tmp_path, **_KEYS)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer one"},
        {"Authorization": "bearer  one "},
        {"X-Api-Key": "one"},
        {"Authorization": "Bearer boss"},
    ],
)
async def test_a_key_opens(guarded: Client, headers: dict[str, str]) -> None:
    assert (await ask(guarded, "GET", "/v1/models", headers=headers))[0] == 200


async def test_a_key_may_hold_any_letters(guarded: Client) -> None:
    headers = {"Authorization": "Bearer zwei-ü"}
    assert (await ask(guarded, "GET", "/v1/models", headers=headers))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer On"},
        {"Authorization": "Bearer onee"},
        {"Authorization": "Bearer ONE"},
        {"Authorization": "Basic one"},
        {"Authorization": "one"},
        {"X-Api-Key": "One"},
        {"X-Api-Key": "one,zwei"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/api/v2/health"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/api/v2/models/m.gguf/load"),
        ("GET", "/no/such/path"),
        ("DELETE", "/v1/models"),
        ("GET", "/health/../v1/models"),
        ("GET", "/healthy"),
    ],
)
async def test_without_a_right_key_every_path_is_401(
    guarded: Client, headers: dict[str, str], method: str, path: str
) -> None:
    status, error = await ask(guarded, method, path, headers=headers)
    assert status == 401
    assert error["type"] == "authentication_error"
    assert error["code"] == "invalid_api_key"
    assert error["message"].startswith("Invalid API Key")


@pytest.mark.parametrize("path", ["/health", "/v1/health"])
async def test_probes_need_no_key(guarded: Client, path: str) -> None:
    assert (await ask(guarded, "GET", path))[0] == 200


async def test_with_an_admin_key_an_ordinary_one_cannot_load_or_unload(guarded: Client) -> None:
    ours = {"Authorization": "Bearer one"}
    for action in ("load", "unload"):
        status, error = await ask(
            guarded, "POST", f"/api/v2/models/m.gguf/{action}", headers=ours, json={}
        )
        assert (status, error["code"]) == (403, "admin_key_required")
    # A chat request still loads its model.
    body = chat_body("echo: hi")
    assert (await ask(guarded, "POST", "/api/v2/chat/m.gguf", headers=ours, json=body))[0] == 200
    boss = {"X-Api-Key": "boss"}
    path = "/api/v2/models/m.gguf/unload"
    assert (await ask(guarded, "POST", path, headers=boss))[0] == 200


async def test_without_an_admin_key_every_key_may_load(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await make_client(aiohttp_client, tmp_path, api_keys=("one",))
    headers = {"X-Api-Key": "one"}
    path = "/api/v2/models/m.gguf/load"
    assert (await ask(client, "POST", path, headers=headers))[0] == 200


async def test_an_admin_key_alone_leaves_chats_open(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await make_client(aiohttp_client, tmp_path, admin_keys=("boss",))
    assert (await ask(client, "GET", "/v1/models"))[0] == 200
    assert (await ask(client, "POST", "/api/v2/models/m.gguf/load"))[0] == 403


def test_callers_have_names_that_are_not_their_keys() -> None:
    ring = KeyRing(["one", "two"], ["boss"])
    callers = [ring.find(key) for key in ("one", "two", "boss")]
    names = [caller.name for caller in callers if caller]
    assert len(set(names)) == 3
    assert not any(key in name for key in ("one", "two", "boss") for name in names)
    assert [caller.is_admin for caller in callers if caller] == [False, False, True]
    assert ring.find("three") is None


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("localhost.", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8080", 200),
        ("[::1]", 200),
        ("127.0.0.1.evil.example", 403),
        ("evil.example:8080", 403),
        ("localhost.evil.example", 403),
        ("192.168.0.5", 403),
        ("[fe80::1]", 403),
        ("", 403),
        ("evil.example#localhost", 403),
        ("user@localhost", 403),
        ("[::1]evil.example", 403),
        ("[::1]:80evil.example", 403),
        ("[::1", 403),
        ("[::1%evil.example]", 403),
        ("]127.0.0.1[", 403),
        ("127.0.0.1:80:80", 403),
        ("::1", 200),
    ],
)
async def test_on_loopback_only_its_names_are_answered(
    aiohttp_client: AiohttpClient, tmp_path: Path, host: str, status: int
) -> None:
    client = await make_client(aiohttp_client, tmp_path)
    assert (await ask(client, "GET", "/health", headers={"Host": host}))[0] == status


async def test_other_names_can_be_allowed(aiohttp_client: AiohttpClient, tmp_path: Path) -> None:
    client = await make_client(aiohttp_client, tmp_path, allowed_hosts=("Box.Example", "10.0.0.7"))
    for host, status in (("box.example.:80", 200), ("10.0.0.7", 200), ("evil.example", 403)):
        assert (await ask(client, "GET", "/health", headers={"Host": host}))[0] == status


async def test_an_exposed_server_answers_to_any_name(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await make_client(aiohttp_client, tmp_path, hosts=("0.0.0.0",), api_keys=("k",))
    assert (await ask(client, "GET", "/health", headers={"Host": "any.example"}))[0] == 200


@pytest.mark.parametrize(
    ("text", "name"),
    [("A.b.:80", "a.b"), ("[::1]:80", "::1"), ("::1", "::1"), ("h:", "h"), (" H ", "h")],
)
def test_host_names_are_compared_without_case_port_and_dot(text: str, name: str) -> None:
    assert host_name(text) == name


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("app://obsidian.md", True),
        ("tauri://localhost", True),
        ("http://tauri.localhost", True),
        ("vscode-webview://1abc", True),
        ("file://", True),
        ("null", True),
        ("chrome-extension://abcdef", True),
        ("https://evil.example", False),
        ("https://app", False),
        ("http://tauri.localhost.evil.example", False),
        ("app", False),
        ("http://[", False),
    ],
)
async def test_one_word_allows_desktop_apps(
    aiohttp_client: AiohttpClient, tmp_path: Path, origin: str, allowed: bool
) -> None:
    client = await make_client(aiohttp_client, tmp_path, cors_origins=("apps",))
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    response = await client.options("/api/chat", headers=headers)
    assert response.status == 200
    assert response.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:3000", True),
        ("https://127.0.0.1", True),
        ("http://[::1]:5173", True),
        ("https://evil.example", False),
        ("http://localhost.evil.example", False),
        ("file://localhost", False),
        ("null", False),
        ("http://[", False),
    ],
)
async def test_pages_of_this_machine_may_use_the_server_and_others_not(
    aiohttp_client: AiohttpClient, tmp_path: Path, origin: str, allowed: bool
) -> None:
    client = await make_client(aiohttp_client, tmp_path)
    headers = {"Origin": origin}
    response = await client.get("/v1/models", headers=headers)
    assert response.status == 200
    assert response.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
    assert response.headers["Vary"] == "Origin"
    # Requests that a form on any web page can send without a preflight request.
    headers["Content-Type"] = "text/plain"
    status, _ = await ask(client, "POST", "/api/v2/models/m.gguf/load", headers=headers)
    assert status == (200 if allowed else 403)


async def test_a_page_of_the_server_itself_may_use_it(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await make_client(aiohttp_client, tmp_path, hosts=("0.0.0.0",), api_keys=("k",))
    headers = {"Host": "box.example:8080", "Origin": "https://box.example:8080", "X-Api-Key": "k"}
    assert (await ask(client, "POST", "/api/v2/models/m.gguf/load", headers=headers))[0] == 200


async def test_a_preflight_needs_no_key_and_echoes_the_origin(guarded: Client) -> None:
    headers = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    for path in ("/v1/chat/completions", "/no/such/path"):
        response = await guarded.options(path, headers=headers)
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
        assert response.headers["Access-Control-Allow-Headers"] == "authorization, content-type"
        assert "POST" in response.headers["Access-Control-Allow-Methods"]
        assert "Access-Control-Allow-Credentials" not in response.headers


async def test_a_foreign_preflight_gets_no_permission(guarded: Client) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    response = await guarded.options("/v1/chat/completions", headers=headers)
    assert response.status == 200
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("origins", [("https://app.example",), ("*",)])
async def test_configured_origins_are_echoed_in_errors_and_streams_too(
    aiohttp_client: AiohttpClient, tmp_path: Path, origins: tuple[str, ...]
) -> None:
    client = await make_client(
        aiohttp_client, tmp_path, cors_origins=origins, cors_credentials=True
    )
    headers = {"Origin": "https://app.example"}
    missing = await client.get("/nothing", headers=headers)
    path = "/api/v2/chat/m.gguf/stream"
    stream = await client.post(path, headers=headers, json=chat_body("echo: hi"))
    for response, status in ((missing, 404), (stream, 200)):
        assert response.status == status
        assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
        await response.read()


async def test_a_prefix_stands_before_every_path(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await make_client(aiohttp_client, tmp_path, api_prefix="/llm", **_KEYS)
    assert (await ask(client, "GET", "/llm/health"))[0] == 200
    key = {"X-Api-Key": "one"}
    assert (await ask(client, "GET", "/llm/v1/models", headers=key))[0] == 200
    assert (await ask(client, "GET", "/v1/models", headers=key))[0] == 404
    assert (await ask(client, "POST", "/llm/api/v2/models/m.gguf/load", headers=key))[0] == 403
    answer = await client.get("/llm/api/v2/openapi.json", headers=key)
    description = await answer.json()
    assert description["servers"] == [{"url": "/llm"}]
    assert "/api/v2/chat/{model_id}" in description["paths"]
    assert (await client.get("/llm/docs", headers=key)).status == 200
