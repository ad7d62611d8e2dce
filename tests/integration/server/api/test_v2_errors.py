"""What /api/v2 refuses and with which error, and what it leaves out with a warning."""

import io
import logging
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, make_app
from tests.support.v2_requests import get, post, write_models


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_models(tmp_path)
    return await aiohttp_client(make_app(tmp_path))


@pytest.mark.parametrize(
    "model_id",
    [
        "nothing.gguf",
        "..%2Fm.gguf",
        "%2e%2e%2fm.gguf",
        "..%252Fm.gguf",
        "%2Fetc%2Fpasswd",
        "m.gguf%00",
    ],
)
@pytest.mark.parametrize(
    "path", ["models/{}/load", "models/{}/unload", "chat/{}", "chat/{}/stream"]
)
async def test_ids_that_name_no_model_are_404(client: Client, model_id: str, path: str) -> None:
    from yarl import URL

    url = URL(f"{client.make_url('/api/v2/')}{path.format(model_id)}", encoded=True)
    body = chat_body("x") if path.startswith("chat") else {}
    async with client.session.post(url, json=body) as response:
        assert response.status == 404
        assert (await response.json())["error"]["type"] == "not_found_error"


@pytest.mark.parametrize(
    ("data", "param"),
    [
        (b"{", None),
        (b"", None),
        (b"null", None),
        (b"[]", None),
        (b"\xff", None),
        (b'{"messages": [{"role": "user", "content": "\xed\xa0\x80"}]}', None),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', None),
        (b'{"messages": [{"role": "user", "content": "x"}], "other":' + b"[" * 100_000, None),
        (b"{}", "messages"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": "hi"}', "messages"),
        (b'{"messages": [{"role": "wizard", "content": "x"}]}', "messages[0].role"),
        (b'{"messages": [{"content": "x"}]}', "messages[0].role"),
        (b'{"messages": [{"role": "user", "content": 5}]}', "messages[0].content"),
        (b'{"messages": [{"role": "user", "content": "x"}], "temperature": 2.1}', "temperature"),
        (b'{"messages": [{"role": "user", "content": "x"}], "temperature": "hot"}', "temperature"),
        (b'{"messages": [{"role": "user", "content": "x"}], "top_p": 1.5}', "top_p"),
        (b'{"messages": [{"role": "user", "content": "x"}], "n_predict": 1.5}', "n_predict"),
        (b'{"messages": [{"role": "user", "content": "x"}], "stop": [7]}', "stop[0]"),
    ],
    ids=lambda value: value[:60].decode(errors="replace") if isinstance(value, bytes) else None,
)
@pytest.mark.parametrize("path", ["chat/m.gguf", "chat/m.gguf/stream"])
async def test_a_wrong_body_is_a_400_that_names_the_field(
    client: Client, path: str, data: bytes, param: str | None
) -> None:
    response = await client.post(f"/api/v2/{path}", data=data)
    error = (await response.json())["error"]
    assert response.status == 400, error
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert "Traceback" not in error["message"]


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"messages": [{"role": "user"}]}, None),
        ({"messages": [{"role": "user", "content": [{"type": "video_url"}]}]}, "'video_url'"),
        ({"n_predict": 1e30}, None),
        ({"samplers": ["magic"]}, "magic"),
    ],
)
async def test_fields_without_a_guarantee_are_accepted_or_left_out_with_a_warning(
    client: Client, change: dict[str, Any], warning: str | None
) -> None:
    answer = await post(client, "chat/m.gguf", chat_body("echo: a") | change)
    warnings = answer.get("warnings", [])
    assert any(warning in text for text in warnings) if warning else warnings == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n_ctx": "big"}, "n_ctx"),
        ({"n_ctx": -5}, "n_ctx"),
        ({"n_batch": 0}, "n_batch"),
        ({"threads": 100_000}, "threads"),
        ({"use_mlock": "yes"}, "use_mlock"),
        ({"f16_kv": 2}, "f16_kv"),
        ({"n_gpu_layers": 1.5}, "n_gpu_layers"),
    ],
)
async def test_wrong_load_settings_are_a_400_that_names_the_field(
    client: Client, body: dict[str, Any], param: str
) -> None:
    answer = await post(client, "models/m.gguf/load", body, status=400)
    assert answer["error"]["param"] == param


async def test_unknown_paths_and_methods_are_json_too(client: Client) -> None:
    missing = await client.get("/api/v2/nothing")
    assert missing.status == 404
    assert (await missing.json())["error"]["code"] == "unknown_path"
    wrong = await client.delete("/api/v2/models")
    assert wrong.status == 405
    assert "GET" in wrong.headers["Allow"]
    assert (await wrong.json())["error"]["code"] == "method_not_allowed"


async def test_a_websocket_is_a_426_on_which_clients_send_a_post(client: Client) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    answer = await client.get("/v1/responses", headers=headers)
    assert answer.status == 426
    error = (await answer.json())["error"]
    assert error["message"] == "/v1/responses does not accept WebSockets; send the request by POST"
    assert error["code"] == "no_websocket"


async def test_a_body_over_the_limit_is_a_413(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(make_app(tmp_path, max_body_mb=1))
    response = await client.post("/api/v2/chat/m.gguf", data=io.BytesIO(bytes(2 << 20)))
    assert response.status == 413
    assert (await response.json())["error"]["code"] == "request_too_large"


async def test_a_body_in_a_broken_encoding_is_a_400_and_no_failure_of_ours(client: Client) -> None:
    headers = {"Content-Encoding": "gzip"}
    url = "/api/v2/chat/m.gguf"
    response = await client.post(url, data=b"no gzip", headers=headers, skip_auto_headers=headers)
    assert response.status == 400
    assert (await response.json())["error"]["code"] == "bad_body"
    assert (await get(client, "health"))["last_error"] is None


async def test_context_overflow_is_a_400_with_both_numbers_before_any_stream(
    client: Client,
) -> None:
    for path in ("chat/m.gguf", "chat/m.gguf/stream"):
        answer = await post(client, path, chat_body("long 64"), status=400)
        error = answer["error"]
        assert error["type"] == "exceed_context_size_error"
        assert error["code"] == "context_length_exceeded"
        assert (error["n_prompt_tokens"], error["n_ctx"]) == (64, 64)


@pytest.mark.parametrize("content", ["SLOW", "ESTIMATE SLOW"])
async def test_a_load_that_takes_too_long_is_a_504(
    aiohttp_client: AiohttpClient, tmp_path: Path, content: str
) -> None:
    write_gguf(tmp_path / "slow.gguf", content)
    client = await aiohttp_client(make_app(tmp_path, load_timeout=1.5))
    for path, body in (("models/slow.gguf/load", {}), ("chat/slow.gguf", chat_body("a"))):
        error = (await post(client, path, body, status=504))["error"]
        assert (error["code"], error["reason"]) == ("load_timeout", "timeout")
        assert error["type"] == "timeout_error"


async def test_nothing_is_fetched_for_an_unknown_model(client: Client) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    body = {"messages": [{"role": "user", "content": [picture]}]}
    # If the model exists, the image is fetched, and its host is not an allowed one.
    refused = await post(client, "chat/m.gguf", body, status=400)
    assert "cannot be fetched" in refused["error"]["message"]
    for path in ("chat/none.gguf", "chat/none.gguf/stream"):
        assert (await post(client, path, body, status=404))["error"]["code"] == "model_not_found"
    rendered = await client.post("/apply-template", json=body | {"model": "none.gguf"})
    assert rendered.status == 404


async def test_ignored_fields_are_logged_with_their_path(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="server.http.body.json_body")
    tool = {"type": "function", "function": {"name": "f", "extra": 1, "parameters": {"own": 1}}}
    part = {"type": "text", "text": "a", "colour": "red"}
    body = {
        "messages": [{"role": "user", "content": [part], "mood": "good"}],
        "tools": [tool],
        "sparkle": True,
    }
    await post(client, "chat/m.gguf", body)
    reported = {record.args[0] for record in caplog.records if isinstance(record.args, tuple)}
    assert reported == {
        "sparkle",
        "messages[0].mood",
        "messages[0].content[0].colour",
        "tools[0].function.extra",
    }
