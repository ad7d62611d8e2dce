"""/api/v2 as the API reference has it, over a scripted engine."""

import io
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.api.shared.chunks import AnswerTag, V2Chunks
from server.protocol.outputs import PromptProgress, SequenceOutput, WireUsage
from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, events, make_app
from tests.support.v2_requests import get, post, state, write_models

_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_models(tmp_path)
    return await aiohttp_client(make_app(tmp_path))


async def test_health_has_the_four_fields(client: Client) -> None:
    health = await get(client, "health")
    assert set(health) == {"status", "version", "uptime", "last_error"}
    assert health["status"] == "healthy"
    assert re.fullmatch(r"\d+d \d+h \d+m", health["uptime"])
    assert health["last_error"] is None


async def test_models_lists_files_with_their_metadata(client: Client) -> None:
    document = await get(client, "models")
    models = {model["id"]: model for model in document["available_models"]}
    assert list(models) == [
        "bad.gguf",
        "die.gguf",
        "m.gguf",
        "new.gguf",
        "oom.gguf",
        "org/sub/n.gguf",
        "slow.gguf",
    ]
    model = models["m.gguf"]
    assert isinstance(model["size"], int)
    assert _ISO.fullmatch(model["modified"])
    assert model["metadata"]["model_type"] == "llama"
    assert model["metadata"]["parameters"] == {
        "context_length": 2048,
        "embedding_length": 64,
        "block_count": 2,
    }
    assert models["bad.gguf"]["status"] == "broken"
    assert models["bad.gguf"]["failure"]["reason"] == "corrupt_file"
    assert document["loaded_models"] == {}


async def test_load_and_unload_follow_the_reference(client: Client) -> None:
    body = {"n_gpu_layers": 0, "n_ctx": 64, "n_batch": 32, "threads": 1}
    body |= {"use_mlock": False, "f16_kv": True}
    loaded = await post(client, "models/m.gguf/load", body)
    assert loaded["status"] == "success"
    assert loaded["message"] == "Model loaded successfully"
    assert _ISO.fullmatch(loaded["load_time"])
    assert loaded["memory_used"] == "13.0MB"
    assert loaded["settings"]["requested"] == body
    assert loaded["settings"]["effective"]["n_ctx"] == 64

    listed = await get(client, "models")
    assert listed["loaded_models"] == {
        "m.gguf": {
            "status": "loaded",
            "load_time": loaded["load_time"],
            "ttl": -1,
            "pinned": False,
        }
    }
    unloaded = await post(client, "models/m.gguf/unload")
    assert unloaded["status"] == "success"
    assert unloaded["message"] == "Model unloaded successfully"
    assert _ISO.fullmatch(unloaded["unload_time"])
    assert (await get(client, "models"))["loaded_models"] == {}
    refused = await post(client, "models/m.gguf/unload", status=409)
    assert refused["error"]["code"] == "model_not_loaded"


@pytest.mark.parametrize("data", [b"", b"  \n", b"{}", b'{"n_ctx": null}'])
async def test_a_load_without_settings_takes_the_defaults(client: Client, data: bytes) -> None:
    response = await client.post("/api/v2/models/m.gguf/load", data=data)
    assert response.status == 200
    assert (await response.json())["settings"]["requested"] == {}


async def test_model_information_has_performance(client: Client) -> None:
    before = await get(client, "models/m.gguf")
    assert before["status"] == "unloaded"
    assert before["performance"]["load_time"] is None
    await post(client, "chat/m.gguf", chat_body("echo: one two three"))
    after = await get(client, "models/m.gguf")
    assert after["status"] == "loaded"
    assert after["performance"]["tokens_processed"] == 5 + 3
    assert after["performance"]["average_speed"] > 0
    assert _ISO.fullmatch(after["performance"]["load_time"])
    assert after["engine"]["running"] == 0
    await post(client, "models/m.gguf/unload")
    kept = await get(client, "models/m.gguf")
    assert kept["performance"]["load_time"] is None
    assert kept["performance"]["tokens_processed"] == 8


async def test_chat_loads_the_model_and_answers_as_the_reference_says(client: Client) -> None:
    body = chat_body("echo: Paris it is", temperature=0.7, top_p=0.95, n_predict=100)
    answer = await post(client, "chat/m.gguf", body)
    assert re.fullmatch(r"chat-\w+", answer.pop("id"))
    assert isinstance(answer.pop("created"), int)
    message = {"role": "assistant", "content": "Paris it is"}
    assert answer == {
        "object": "chat.completion",
        "model": "m.gguf",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    }
    assert await state(client, "m.gguf") == "loaded"


async def test_the_stream_follows_the_reference(client: Client) -> None:
    response = await client.post("/api/v2/chat/m.gguf/stream", json=chat_body("echo: once upon a"))
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-cache"
    assert "X-Request-Id" in response.headers
    *chunks, done = await events(response)
    assert done == "[DONE]"
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"]["role"] == "assistant"
    assert choices[0]["delta"]["content"].startswith("once")
    assert all("role" not in choice["delta"] for choice in choices[1:])
    assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert choices[-1]["finish_reason"] == "stop"
    assert "".join(choice["delta"]["content"] for choice in choices) == "once upon a"
    assert all(choice["delta"]["content"] for choice in choices[:-1])


async def test_an_empty_answer_is_one_chunk(client: Client) -> None:
    body = chat_body("echo: x", n_predict=0)
    *chunks, _ = await events(await client.post("/api/v2/chat/m.gguf/stream", json=body))
    assert [chunk["choices"][0] for chunk in chunks] == [
        {
            "index": 0,
            "delta": {"role": "assistant", "content": ""},
            "finish_reason": "length",
        }
    ]
    answer = await post(client, "chat/m.gguf", body)
    assert answer["choices"][0]["message"]["content"] == ""
    assert answer["choices"][0]["finish_reason"] == "length"


async def test_stream_true_in_the_body_is_the_streams_path(client: Client) -> None:
    body = chat_body("echo: once upon", stream=True)
    response = await client.post("/api/v2/chat/m.gguf", json=body)
    assert response.headers["Content-Type"] == "text/event-stream"
    first, *_, last, done = await events(response)
    assert first["object"] == "chat.completion.chunk"
    assert (last["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")
    whole = await post(client, "chat/m.gguf", chat_body("echo: once upon", stream=False))
    assert whole["object"] == "chat.completion"


async def test_a_stream_contains_usage_only_if_requested(client: Client) -> None:
    body = chat_body("echo: x y", stream_options={"include_usage": True})
    *chunks, _ = await events(await client.post("/api/v2/chat/m.gguf/stream", json=body))
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize(
    "limit", [{"n_predict": 2}, {"max_tokens": 2}, {"n_predict": 2, "seed": 1}]
)
async def test_n_predict_bounds_the_answer(client: Client, limit: dict[str, int]) -> None:
    answer = await post(client, "chat/m.gguf", chat_body("echo: a b c d", **limit))
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("limit", [{}, {"n_predict": -1}, {"n_predict": None}])
async def test_no_n_predict_means_until_the_end(client: Client, limit: dict[str, Any]) -> None:
    answer = await post(client, "chat/m.gguf", chat_body("echo: a b c d", **limit))
    assert answer["choices"][0]["message"]["content"] == "a b c d"


@pytest.mark.parametrize("model_id", ["org/sub/n.gguf", "org%2Fsub%2Fn.gguf", "org%2fsub/n.gguf"])
async def test_ids_with_folders_work_plain_and_encoded(client: Client, model_id: str) -> None:
    for path in ("load", "unload"):
        await _raw_post(client, f"/api/v2/models/{model_id}/{path}")
    answer = await _raw_post(client, f"/api/v2/chat/{model_id}", chat_body("echo: hi"))
    assert '"org/sub/n.gguf"' in answer
    assert "[DONE]" in await _raw_post(
        client, f"/api/v2/chat/{model_id}/stream", chat_body("echo: hi")
    )


async def _raw_post(client: Client, path: str, body: Any = None) -> str:
    from yarl import URL

    url = URL(str(client.make_url("/")).rstrip("/") + path, encoded=True)
    async with client.session.post(url, json=body) as response:
        assert response.status == 200, await response.text()
        return await response.text()


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
async def test_what_promises_nothing_is_taken_or_left_out_with_a_warning(
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
    assert error["message"] == "/v1/responses takes no WebSocket; send the request by POST"
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


async def test_timings_are_on_the_last_chunk_or_on_all(client: Client) -> None:
    for more, n_timed in (({}, 1), ({"timings_per_token": True}, 4)):
        body = chat_body("echo: a b c", **more)
        *chunks, _ = await events(await client.post("/api/v2/chat/m.gguf/stream", json=body))
        timed = [chunk for chunk in chunks if "timings" in chunk]
        assert chunks[-1]["timings"]["predicted_n"] == 3
        assert len(timed) == (1 if n_timed == 1 else len(chunks))


def test_every_content_of_a_v2_stream_is_a_string() -> None:
    chunks = V2Chunks(AnswerTag("chat", "m"), include_usage=False)
    progress = SequenceOutput("1", 0, "", WireUsage(9, 0, 0), progress=PromptProgress(9, 0, 4, 1.0))
    [first] = chunks.chunks(progress)
    assert first["choices"][0]["delta"] == {"content": ""}
    assert first["prompt_progress"]["processed"] == 4
    [second] = chunks.chunks(SequenceOutput("1", 0, "a", WireUsage(9, 1, 0)))
    assert second["choices"][0]["delta"] == {"role": "assistant", "content": "a"}


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


async def test_nothing_is_fetched_for_a_model_that_is_not_there(client: Client) -> None:
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
