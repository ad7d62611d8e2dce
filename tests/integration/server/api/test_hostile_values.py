"""Values that no model needs and some client sends: numbers and names without measure."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.http.app_keys import REGISTRY
from server.protocol import framing
from server.supervisor.client import WorkerClient
from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, events, make_app, pause

WIDE = 1 << 64
DIGITS = 10**400
_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"a": [1, {"b": WIDE}]}}}
_CALL = {"function": {"name": "f", "arguments": {"x": -WIDE}}}
_HISTORY = [{"role": "user", "content": "echo: a"}, {"role": "assistant", "tool_calls": [_CALL]}]
_SCHEMA = {"type": "json_schema", "json_schema": {"schema": {"maximum": WIDE}}}


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_gguf(tmp_path / "m.gguf")
    return await aiohttp_client(make_app(tmp_path, slot_save_path=tmp_path))


async def _refused(client: Client, path: str, body: Any) -> dict[str, Any]:
    """The error of a 400; the server has no failure of its own to tell of."""
    response = await client.post(path, data=json.dumps(body))
    assert response.status == 400, await response.text()
    error: dict[str, Any] = (await response.json())["error"]
    health = await (await client.get("/api/v2/health")).json()
    assert health["last_error"] is None
    return error


async def _until_at_rest(client: Client) -> None:
    """A request that never ended would make an idle engine look stalled."""
    [entry] = client.app[REGISTRY].entries
    assert isinstance(entry.worker, WorkerClient)
    async with asyncio.timeout(20):
        while entry.worker.is_busy or not entry.leases.is_idle:
            await pause()


@pytest.mark.parametrize("path", ["/api/v2/chat/m.gguf", "/api/v2/chat/m.gguf/stream"])
@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"logit_bias": [[WIDE, 1]]}, "logit_bias[0][0]"),
        ({"logit_bias": {"1" * 5000: 1}}, "logit_bias"),
        ({"logit_bias": {str(WIDE): 1}}, "logit_bias"),
        ({"seed": DIGITS}, None),
        ({"top_k": DIGITS}, "top_k"),
        ({"id_slot": DIGITS}, "id_slot"),
        ({"t_max_predict_ms": -DIGITS}, None),
        ({"sse_ping_interval": DIGITS}, "sse_ping_interval"),
        ({"sse_ping_interval": -DIGITS}, None),
        ({"max_queue_seconds": DIGITS}, "max_queue_seconds"),
    ],
)
async def test_a_huge_number_is_refused_by_name_and_has_no_lasting_effect(
    client: Client, path: str, more: dict[str, Any], param: str | None
) -> None:
    body = chat_body("echo: a", **more)
    if param is None:
        # The value has a meaning: a seed is reduced to 32 bits, a limit below 0 is none.
        response = await client.post(path, data=json.dumps(body))
        assert response.status == 200, await response.text()
    else:
        assert (await _refused(client, path, body))["param"] == param
    response = await client.post(path, json=chat_body("echo: a"))
    assert response.status == 200, await response.text()
    await _until_at_rest(client)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [_TOOL]}, "tools[0].function.parameters.a[1].b"),
        ({"response_format": _SCHEMA}, "json_schema.maximum"),
        ({"json_schema": {"minimum": -WIDE}}, "json_schema.minimum"),
        ({"json_schema": {"minimum": DIGITS}}, "json_schema.minimum"),
        ({"chat_template_kwargs": {"deep": {"n": WIDE}}}, "chat_template_kwargs.deep.n"),
    ],
)
async def test_a_wide_number_that_only_the_template_or_schema_sees_is_rounded_with_a_warning(
    client: Client, more: dict[str, Any], param: str
) -> None:
    body = json.dumps(chat_body("echo: a", **more))
    response = await client.post("/api/v2/chat/m.gguf", data=body)
    assert response.status == 200, await response.text()
    [warning] = (await response.json())["warnings"]
    assert warning.startswith(f"{param}: ")
    assert warning.endswith("it has over 64 bits")
    await _until_at_rest(client)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {"model": "m.gguf", "content": ["a", WIDE]}, "content[1]"),
        ("/detokenize", {"model": "m.gguf", "tokens": [WIDE]}, "tokens[0]"),
        ("/v1/embeddings", {"model": "m.gguf", "input": [[1, WIDE]]}, "input"),
        ("/v1/completions", {"model": "m.gguf", "prompt": [1, WIDE]}, "prompt"),
        ("/api/generate", {"model": "m.gguf", "keep_alive": "1" * 400}, "keep_alive"),
    ],
)
async def test_no_dialect_fails_over_a_wide_number(
    client: Client, path: str, body: dict[str, Any], param: str
) -> None:
    response = await client.post(path, data=json.dumps(body))
    text = await response.text()
    assert response.status == 400, text
    assert param in text
    assert (await (await client.get("/api/v2/health")).json())["last_error"] is None


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/apply-template"])
async def test_a_wide_number_in_the_arguments_of_a_past_call_is_taken(
    client: Client, path: str
) -> None:
    body = {"model": "m.gguf", "messages": _HISTORY}
    response = await client.post(path, data=json.dumps(body))
    assert response.status == 200, await response.text()


async def test_a_model_kept_for_some_hundred_digits_of_seconds_is_kept(client: Client) -> None:
    body = {"model": "m.gguf", "keep_alive": DIGITS}
    response = await client.post("/api/generate", data=json.dumps(body))
    assert response.status == 200, await response.text()
    assert (await client.get("/api/ps")).status == 200


@pytest.mark.parametrize("slot", ["1" * 5000, "99999999", "٣", "-1"])
async def test_a_slot_is_a_number_of_some_digits(client: Client, slot: str) -> None:
    error = await _refused(client, f"/slots/{slot}?action=erase", {})
    assert error["param"] == "id_slot"
    assert len(error["message"]) < 200


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_makes_no_frame_is_refused_and_forgotten(
    client: Client, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    assert (await client.post("/api/v2/models/m.gguf/load")).status == 200
    monkeypatch.setattr(framing, "MAX_FRAME_BYTES", 1 << 12)
    body = chat_body("echo: " + "a" * (1 << 12), stream=stream)
    error = await _refused(client, "/api/v2/chat/m.gguf", body)
    assert "over the limit of 4096" in error["message"]
    await _until_at_rest(client)


async def test_an_interval_of_years_is_refused_before_a_stream_is_open(client: Client) -> None:
    body = chat_body("echo: a b", sse_ping_interval=31_536_000)
    response = await client.post("/api/v2/chat/m.gguf/stream", json=body)
    assert (await events(response))[-1] == "[DONE]"
    await _refused(client, "/api/v2/chat/m.gguf/stream", body | {"sse_ping_interval": 31_536_001})
