"""/api/v2, its paths, fields and formats, over a scripted engine."""

import re
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.api.shared.chunks import AnswerTag, V2Chunks
from server.protocol.outputs import PromptProgress, SequenceOutput, WireUsage
from tests.support.server_app import Client, chat_body, events, make_app
from tests.support.v2_requests import get, post, state, write_models

_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    write_models(tmp_path)
    return await aiohttp_client(make_app(tmp_path))


async def test_health_has_its_four_fields_and_metrics_the_recent_errors(client: Client) -> None:
    health = await get(client, "health")
    assert set(health) == {"status", "version", "uptime", "last_error"}
    assert health["status"] == "healthy"
    assert re.fullmatch(r"\d+d \d+h \d+m", health["uptime"])
    assert health["last_error"] is None
    assert (await get(client, "metrics"))["recent_errors"] == []
    await post(client, "models/oom.gguf/load", status=507)
    await post(client, "models/new.gguf/load", status=400)
    health = await get(client, "health")
    errors = (await get(client, "metrics"))["recent_errors"]
    assert [error.split()[2] for error in errors] == ["oom.gguf:", "new.gguf:"]
    assert errors[-1] == health["last_error"]


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
    assert model["aliases"] == []
    assert model["capabilities"] == ["completion"]
    assert model["can_remove"] is False
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
            "n_ctx": 64,
            "memory_bytes": 13 << 20,
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
