"""/api/v2 as the API reference has it, over a scripted engine."""

import asyncio
import io
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from fake_worker import BUGGY_N_CTX
from gguf_files import write_gguf
from pytest_aiohttp.plugin import AiohttpClient
from server_app import Client, chat_body, events, make_app

_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_gguf(tmp_path / "m.gguf")
    write_gguf(tmp_path / "org" / "sub" / "n.gguf")
    write_gguf(tmp_path / "oom.gguf", "FAIL:out_of_memory")
    write_gguf(tmp_path / "new.gguf", "FAIL:unsupported_architecture")
    write_gguf(tmp_path / "die.gguf", "DIE")
    write_gguf(tmp_path / "slow.gguf", "SLOW")
    (tmp_path / "bad.gguf").write_bytes(b"no model")
    return await aiohttp_client(make_app(tmp_path))


async def _get(client: Client, path: str, status: int = 200) -> Any:
    response = await client.get(f"/api/v2/{path}")
    assert response.status == status, await response.text()
    assert response.content_type == "application/json"
    return await response.json()


async def _post(client: Client, path: str, body: Any = None, status: int = 200) -> Any:
    response = await client.post(f"/api/v2/{path}", json=body)
    assert response.status == status, await response.text()
    assert response.content_type == "application/json"
    return await response.json()


async def _state(client: Client, model_id: str) -> str:
    document = await _get(client, f"models/{model_id}")
    return str(document["status"])


async def _until_state(client: Client, model_id: str, state: str) -> None:
    async with asyncio.timeout(60):
        while await _state(client, model_id) != state:
            pass


async def test_health_has_the_four_fields(client: Client) -> None:
    health = await _get(client, "health")
    assert set(health) == {"status", "version", "uptime", "last_error"}
    assert health["status"] == "healthy"
    assert re.fullmatch(r"\d+d \d+h \d+m", health["uptime"])
    assert health["last_error"] is None


async def test_models_lists_files_with_their_metadata(client: Client) -> None:
    document = await _get(client, "models")
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
    loaded = await _post(client, "models/m.gguf/load", body)
    assert loaded["status"] == "success"
    assert loaded["message"] == "Model loaded successfully"
    assert _ISO.fullmatch(loaded["load_time"])
    assert loaded["memory_used"] == "13.0MB"
    assert loaded["settings"]["requested"] == body
    assert loaded["settings"]["effective"]["n_ctx"] == 64

    listed = await _get(client, "models")
    assert listed["loaded_models"] == {
        "m.gguf": {"status": "loaded", "load_time": loaded["load_time"]}
    }
    unloaded = await _post(client, "models/m.gguf/unload")
    assert unloaded["status"] == "success"
    assert unloaded["message"] == "Model unloaded successfully"
    assert _ISO.fullmatch(unloaded["unload_time"])
    assert (await _get(client, "models"))["loaded_models"] == {}
    refused = await _post(client, "models/m.gguf/unload", status=409)
    assert refused["error"]["code"] == "model_not_loaded"


@pytest.mark.parametrize("data", [b"", b"  \n", b"{}", b'{"n_ctx": null}'])
async def test_a_load_without_settings_takes_the_defaults(client: Client, data: bytes) -> None:
    response = await client.post("/api/v2/models/m.gguf/load", data=data)
    assert response.status == 200
    assert (await response.json())["settings"]["requested"] == {}


async def test_model_information_has_performance(client: Client) -> None:
    before = await _get(client, "models/m.gguf")
    assert before["status"] == "unloaded"
    assert before["performance"]["load_time"] is None
    await _post(client, "chat/m.gguf", chat_body("echo: one two three"))
    after = await _get(client, "models/m.gguf")
    assert after["status"] == "loaded"
    assert after["performance"]["tokens_processed"] == 5 + 3
    assert after["performance"]["average_speed"] > 0
    assert _ISO.fullmatch(after["performance"]["load_time"])
    assert after["engine"]["running"] == 0
    await _post(client, "models/m.gguf/unload")
    kept = await _get(client, "models/m.gguf")
    assert kept["performance"]["load_time"] is None
    assert kept["performance"]["tokens_processed"] == 8


async def test_chat_loads_the_model_and_answers_as_the_reference_says(client: Client) -> None:
    body = chat_body("echo: Paris it is", temperature=0.7, top_p=0.95, n_predict=100)
    answer = await _post(client, "chat/m.gguf", body)
    assert re.fullmatch(r"chat-\w+", answer.pop("id"))
    assert isinstance(answer.pop("created"), int)
    message = {"role": "assistant", "content": "Paris it is"}
    assert answer == {
        "object": "chat.completion",
        "model": "m.gguf",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    }
    assert await _state(client, "m.gguf") == "loaded"


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
    answer = await _post(client, "chat/m.gguf", body)
    assert answer["choices"][0]["message"]["content"] == ""
    assert answer["choices"][0]["finish_reason"] == "length"


async def test_stream_true_in_the_body_is_the_streams_path(client: Client) -> None:
    body = chat_body("echo: once upon", stream=True)
    response = await client.post("/api/v2/chat/m.gguf", json=body)
    assert response.headers["Content-Type"] == "text/event-stream"
    first, *_, last, done = await events(response)
    assert first["object"] == "chat.completion.chunk"
    assert (last["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")
    whole = await _post(client, "chat/m.gguf", chat_body("echo: once upon", stream=False))
    assert whole["object"] == "chat.completion"


async def test_usage_comes_in_a_stream_only_when_asked_for(client: Client) -> None:
    body = chat_body("echo: x y", stream_options={"include_usage": True})
    *chunks, _ = await events(await client.post("/api/v2/chat/m.gguf/stream", json=body))
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize(
    "limit", [{"n_predict": 2}, {"max_tokens": 2}, {"n_predict": 2, "seed": 1}]
)
async def test_n_predict_bounds_the_answer(client: Client, limit: dict[str, int]) -> None:
    answer = await _post(client, "chat/m.gguf", chat_body("echo: a b c d", **limit))
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("limit", [{}, {"n_predict": -1}, {"n_predict": None}])
async def test_no_n_predict_means_until_the_end(client: Client, limit: dict[str, Any]) -> None:
    answer = await _post(client, "chat/m.gguf", chat_body("echo: a b c d", **limit))
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
        (b'{"messages": [{"role": "user"}]}', "messages[0].content"),
        (b'{"messages": [{"content": "x"}]}', "messages[0].role"),
        (b'{"messages": [{"role": "user", "content": 5}]}', "messages[0].content"),
        (
            b'{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}',
            "messages[0].content[0].type",
        ),
        (b'{"messages": [{"role": "user", "content": "x"}], "temperature": 2.1}', "temperature"),
        (b'{"messages": [{"role": "user", "content": "x"}], "temperature": "hot"}', "temperature"),
        (b'{"messages": [{"role": "user", "content": "x"}], "top_p": 1.5}', "top_p"),
        (b'{"messages": [{"role": "user", "content": "x"}], "n_predict": -2}', "n_predict"),
        (b'{"messages": [{"role": "user", "content": "x"}], "n_predict": 1.5}', "n_predict"),
        (b'{"messages": [{"role": "user", "content": "x"}], "n_predict": 1e30}', "n_predict"),
        (b'{"messages": [{"role": "user", "content": "x"}], "samplers": ["magic"]}', "samplers"),
        (b'{"messages": [{"role": "user", "content": "x"}], "stop": [""]}', "stop[0]"),
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
    ("body", "param"),
    [
        ({"n_ctx": "big"}, "n_ctx"),
        ({"n_ctx": -5}, "n_ctx"),
        ({"n_batch": 0}, "n_batch"),
        ({"threads": 100_000}, "threads"),
        ({"use_mlock": "yes"}, "use_mlock"),
        ({"f16_kv": 1}, "f16_kv"),
        ({"n_gpu_layers": 1.5}, "n_gpu_layers"),
    ],
)
async def test_wrong_load_settings_are_a_400_that_names_the_field(
    client: Client, body: dict[str, Any], param: str
) -> None:
    answer = await _post(client, "models/m.gguf/load", body, status=400)
    assert answer["error"]["param"] == param


async def test_unknown_paths_and_methods_are_json_too(client: Client) -> None:
    missing = await client.get("/api/v2/nothing")
    assert missing.status == 404
    assert (await missing.json())["error"]["code"] == "unknown_path"
    wrong = await client.delete("/api/v2/models")
    assert wrong.status == 405
    assert "GET" in wrong.headers["Allow"]
    assert (await wrong.json())["error"]["code"] == "method_not_allowed"


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
    assert (await _get(client, "health"))["last_error"] is None


async def test_context_overflow_is_a_400_with_both_numbers_before_any_stream(
    client: Client,
) -> None:
    for path in ("chat/m.gguf", "chat/m.gguf/stream"):
        answer = await _post(client, path, chat_body("long 64"), status=400)
        error = answer["error"]
        assert error["type"] == "exceed_context_size_error"
        assert error["code"] == "context_length_exceeded"
        assert (error["n_prompt_tokens"], error["n_ctx"]) == (64, 64)


async def test_a_template_that_refuses_is_a_400(client: Client) -> None:
    answer = await _post(client, "chat/m.gguf", chat_body("refuse"), status=400)
    assert answer["error"]["message"] == "roles must alternate"


async def test_a_bug_in_the_worker_is_a_500_without_a_trace(client: Client) -> None:
    answer = await _post(client, "chat/m.gguf", chat_body("bug"), status=500)
    assert "Traceback" not in answer["error"]["message"]


@pytest.mark.parametrize(
    ("model_id", "status", "reason"),
    [
        ("oom.gguf", 507, "out_of_memory"),
        ("new.gguf", 400, "unsupported_architecture"),
        ("bad.gguf", 400, "corrupt_file"),
        ("die.gguf", 503, "crashed"),
    ],
)
async def test_a_model_that_cannot_be_loaded_says_why(
    client: Client, model_id: str, status: int, reason: str
) -> None:
    for path, body in ((f"models/{model_id}/load", None), (f"chat/{model_id}", chat_body("x"))):
        answer = await _post(client, path, body, status=status)
        assert answer["error"]["reason"] == reason
    document = await _get(client, f"models/{model_id}")
    assert document["status"] in ("failed", "broken")
    assert document["failure"]["reason"] == reason


async def test_a_killed_worker_is_an_error_event_and_the_next_chat_works(client: Client) -> None:
    response = await client.post("/api/v2/chat/m.gguf/stream", json=chat_body("forever"))
    assert response.status == 200
    first = await response.content.readuntil(b"\n\n")
    os.kill((await _get(client, "models/m.gguf"))["engine"]["pid"], signal.SIGKILL)
    *_, last = await events(response)
    assert b'"role":"assistant"' in first
    assert last["error"]["code"] == "worker_crashed"
    assert "SIGKILL" in last["error"]["message"]
    health = await _get(client, "health")
    assert health["status"] == "healthy"
    assert "SIGKILL" in health["last_error"]
    assert await _state(client, "m.gguf") == "failed"
    answer = await _post(client, "chat/m.gguf", chat_body("echo: back again"))
    assert answer["choices"][0]["message"]["content"] == "back again"


async def test_a_killed_worker_fails_a_plain_chat_with_503(client: Client) -> None:
    answer = await _post(client, "chat/m.gguf", chat_body("die"), status=503)
    assert answer["error"]["code"] == "worker_crashed"


async def test_an_engine_failure_is_remembered(client: Client) -> None:
    answer = await _post(client, "chat/m.gguf", chat_body("break"), status=503)
    assert "scripted failure" in answer["error"]["message"]
    assert (await _get(client, "health"))["last_error"] is not None


async def test_a_client_that_leaves_frees_the_sequence(client: Client) -> None:
    for path in ("chat/m.gguf", "chat/m.gguf/stream"):
        await _post(client, "models/m.gguf/load", {})
        task = asyncio.ensure_future(_read_first(client, path))
        async with asyncio.timeout(20):
            while (await _get(client, "models/m.gguf"))["engine"]["running"] != 1:
                pass
        task.cancel()
        async with asyncio.timeout(20):
            while (await _get(client, "models/m.gguf"))["engine"]["running"] != 0:
                pass


async def _read_first(client: Client, path: str) -> None:
    async with client.post(f"/api/v2/{path}", json=chat_body("forever")) as response:
        await response.read()


async def test_loads_at_the_same_time_are_one_load(client: Client) -> None:
    bodies = [_post(client, "models/m.gguf/load", {"n_ctx": 64}) for _ in range(5)]
    chats = [_post(client, "chat/m.gguf", chat_body(f"echo: {n}")) for n in range(5)]
    loads = await asyncio.gather(*bodies)
    assert len({load["load_time"] for load in loads}) == 1
    assert [
        answer["choices"][0]["message"]["content"] for answer in await asyncio.gather(*chats)
    ] == [str(n) for n in range(5)]


async def test_other_settings_load_the_model_again(client: Client) -> None:
    await _post(client, "models/m.gguf/load", {"n_ctx": 64})
    first = (await _get(client, "models/m.gguf"))["engine"]["pid"]
    await _post(client, "models/m.gguf/load", {"n_ctx": 64})
    assert (await _get(client, "models/m.gguf"))["engine"]["pid"] == first
    await _post(client, "models/m.gguf/load", {"n_ctx": 32})
    assert (await _get(client, "models/m.gguf"))["engine"]["pid"] != first


async def test_a_chat_after_an_unload_loads_with_the_last_settings(client: Client) -> None:
    await _post(client, "models/m.gguf/load", {"n_ctx": 48})
    await _post(client, "models/m.gguf/unload")
    await _post(client, "chat/m.gguf", chat_body("echo: x"))
    assert (await _get(client, "models/m.gguf"))["settings"]["requested"] == {"n_ctx": 48}


async def test_settings_that_failed_are_not_those_of_the_next_chat(client: Client) -> None:
    await _post(client, "models/m.gguf/load", {"n_ctx": 48})
    answer = await _post(client, "models/m.gguf/load", {"n_ctx": BUGGY_N_CTX}, status=500)
    assert answer["error"]["reason"] == "unknown"
    await _post(client, "chat/m.gguf", chat_body("echo: x"))
    assert (await _get(client, "models/m.gguf"))["settings"]["requested"] == {"n_ctx": 48}


async def test_unload_cancels_a_load_and_whoever_waits_is_told(client: Client) -> None:
    waiting = asyncio.ensure_future(_post(client, "models/slow.gguf/load", {}, status=503))
    await _until_state(client, "slow.gguf", "loading")
    await _post(client, "models/slow.gguf/unload")
    assert (await waiting)["error"]["code"] == "load_cancelled"
    assert await _state(client, "slow.gguf") == "unloaded"


async def test_a_client_that_leaves_does_not_stop_a_load(client: Client) -> None:
    waiting = asyncio.ensure_future(_post(client, "models/slow.gguf/load", {}))
    await _until_state(client, "slow.gguf", "loading")
    waiting.cancel()
    await asyncio.wait({waiting})
    assert await _state(client, "slow.gguf") == "loading"


async def test_unload_lets_running_answers_finish(client: Client) -> None:
    text = "echo: " + " ".join(["word"] * 40)
    await _post(client, "models/m.gguf/load", {})
    answer = asyncio.ensure_future(_post(client, "chat/m.gguf", chat_body(text)))
    async with asyncio.timeout(20):
        while (await _get(client, "models/m.gguf"))["engine"]["running"] != 1:
            pass
    unloading = asyncio.ensure_future(_post(client, "models/m.gguf/unload"))
    await _until_state(client, "m.gguf", "draining")
    refused = await client.post("/api/v2/chat/m.gguf", json=chat_body("echo: x"))
    assert refused.status == 503
    assert refused.headers["Retry-After"]
    assert (await answer)["choices"][0]["finish_reason"] == "stop"
    await unloading


async def test_unload_cuts_answers_that_do_not_end(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path, drain_seconds=0.1))
    response = await client.post("/api/v2/chat/m.gguf/stream", json=chat_body("forever"))
    await _post(client, "models/m.gguf/unload")
    assert (await events(response))[-1]["error"]["code"] == "model_unloaded"
    assert (await _get(client, "health"))["last_error"] is None


async def test_a_stream_that_waits_long_pings_and_then_errs_as_an_event(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "slow.gguf", "SLOW")
    app = make_app(tmp_path, header_hold_seconds=0.05, ping_seconds=0.05)
    client = await aiohttp_client(app)
    response = await client.post("/api/v2/chat/slow.gguf/stream", json=chat_body("x"))
    assert response.status == 200
    assert await response.content.readuntil(b"\n\n") == b":\n\n"
    assert await response.content.readuntil(b"\n\n") == b":\n\n"
    await _post(client, "models/slow.gguf/unload")
    assert (await events(response))[-1]["error"]["code"] == "load_cancelled"


async def test_closing_the_application_leaves_no_worker(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path))
    await _post(client, "models/m.gguf/load", {})
    pid = (await _get(client, "models/m.gguf"))["engine"]["pid"]
    await client.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


async def test_a_sane_request_id_is_returned_and_another_replaced(client: Client) -> None:
    good = await client.get("/api/v2/health", headers={"X-Request-Id": "abc-123"})
    assert good.headers["X-Request-Id"] == "abc-123"
    bad = await client.get("/api/v2/health", headers={"X-Request-Id": "a b" * 100})
    assert re.fullmatch(r"[0-9a-f]{32}", bad.headers["X-Request-Id"])
