"""Every endpoint of /api/v2 on a running server: paths, fields, types and formats.

Clients rely on the tables below; responses may have more fields, but not fewer.
"""

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest

from tests.support.server_process import TINY, ServerProcess, all_events

pytestmark = pytest.mark.e2e


class Matching:
    """A string that matches this pattern."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern


class Only:
    """One of these values."""

    def __init__(self, *values: object) -> None:
        self.values = values


Shape: TypeAlias = "type | tuple[type, ...] | Matching | Only | dict[str, Shape] | list[Shape]"

TIME = Matching(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
NUMBER = (int, float)
METADATA: Shape = {
    "model_type": str,
    "parameters": {"context_length": int, "embedding_length": int, "block_count": int},
}
MODELS: Shape = {
    "available_models": [{"id": str, "size": int, "modified": TIME, "metadata": METADATA}],
    "loaded_models": {TINY: {"status": Only("loaded"), "load_time": TIME}},
}
MODEL: Shape = {
    "id": Only(TINY),
    "size": int,
    "modified": TIME,
    "status": Only("loaded"),
    "metadata": METADATA,
    "performance": {"load_time": TIME, "tokens_processed": int, "average_speed": NUMBER},
}
LOADED: Shape = {
    "status": Only("success"),
    "message": Only("Model loaded successfully"),
    "load_time": TIME,
    "memory_used": Matching(r"\d+\.\d(MB|GB)"),
}
UNLOADED: Shape = {
    "status": Only("success"),
    "message": Only("Model unloaded successfully"),
    "unload_time": TIME,
}
ANSWER: Shape = {
    "id": Matching(r"chat-.+"),
    "object": Only("chat.completion"),
    "created": int,
    "model": Only(TINY),
    "choices": [
        {
            "index": Only(0),
            "message": {"role": Only("assistant"), "content": str},
            "finish_reason": Only("stop", "length"),
        }
    ],
    "usage": {"prompt_tokens": int, "completion_tokens": int, "total_tokens": int},
}
CHUNK: Shape = {
    "id": Matching(r"chat-.+"),
    "object": Only("chat.completion.chunk"),
    "created": int,
    "model": Only(TINY),
    "choices": [
        {
            "index": Only(0),
            "delta": {"content": str},
            "finish_reason": Only(None, "stop", "length"),
        }
    ],
}
GPU_MEMORY: Shape = {"total_mb": int, "used_mb": int, "percent": NUMBER}
METRICS: Shape = {
    "cpu": {
        "utilization": NUMBER,
        "cores": {"physical": int, "logical": int},
        "frequency": {"current": NUMBER, "min": NUMBER, "max": NUMBER},
    },
    "memory": {"total_mb": int, "available_mb": int, "used_mb": int, "percent": NUMBER},
    "gpu": {"available": bool, "name": (str, type(None)), "memory": GPU_MEMORY},
    "timestamp": TIME,
}
HEALTH: Shape = {
    "status": Only("healthy"),
    "version": Matching(r"\d+\.\d+\.\d+.*"),
    "uptime": Matching(r"\d+d \d+h \d+m"),
    "last_error": Only(None),
}
LOAD_BODY = {
    "n_gpu_layers": 32,
    "n_ctx": 2048,
    "n_batch": 512,
    "threads": 1,
    "use_mlock": True,
    "f16_kv": True,
}
CHAT_BODY = {
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the capital of France?"},
    ],
    "temperature": 0.7,
    "top_p": 0.95,
    "n_predict": 100,
}
STREAM_BODY = {
    "messages": [{"role": "user", "content": "Tell me a story"}],
    "temperature": 0.8,
    "top_p": 0.95,
}


def check(document: Any, shape: Shape, path: str = "$") -> None:
    """Compare a document with its table."""
    match shape:
        case dict():
            assert isinstance(document, dict), f"{path} is not an object: {document!r}"
            for key, inner in shape.items():
                assert key in document, f"{path}.{key} is missing"
                check(document[key], inner, f"{path}.{key}")
        case list():
            assert isinstance(document, list), f"{path} is not an array: {document!r}"
            assert document, f"{path} is empty"
            for index, item in enumerate(document):
                check(item, shape[0], f"{path}[{index}]")
        case Matching(pattern=pattern):
            assert isinstance(document, str), f"{path} is not a string: {document!r}"
            assert re.fullmatch(pattern, document), f"{path}: {document!r} is not {pattern}"
        case Only(values=values):
            assert document in values, f"{path}: {document!r} is not one of {values}"
        case _:
            # True is an int in Python, but not in JSON.
            allowed = shape if isinstance(shape, tuple) else (shape,)
            assert type(document) in allowed, f"{path}: {document!r} is not of type {shape}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("models")) as process:
        check(process.post(f"/api/v2/models/{TINY}/load", LOAD_BODY), LOADED)
        yield process


def test_list_available_models(server: ServerProcess) -> None:
    check(server.get("/api/v2/models"), MODELS)


def test_get_model_information(server: ServerProcess) -> None:
    server.post(f"/api/v2/chat/{TINY}", CHAT_BODY)
    document = server.get(f"/api/v2/models/{TINY}")
    check(document, MODEL)
    assert document["performance"]["tokens_processed"] > 0
    assert document["performance"]["average_speed"] > 0


def test_unload_and_the_errors_for_a_model_that_is_not_loaded(server: ServerProcess) -> None:
    check(server.post(f"/api/v2/models/{TINY}/unload"), UNLOADED)
    document = server.get(f"/api/v2/models/{TINY}")
    assert document["status"] == "unloaded"
    check(document["metadata"], METADATA)
    assert document["performance"]["load_time"] is None
    assert server.get("/api/v2/models")["loaded_models"] == {}
    assert server.request("POST", f"/api/v2/models/{TINY}/unload")[0] == 409
    check(server.post(f"/api/v2/models/{TINY}/load"), LOADED)


def test_every_field_of_a_load_is_optional_and_typed(server: ServerProcess) -> None:
    for field, value in LOAD_BODY.items():
        wrong = "many" if isinstance(value, bool) else [value]
        status, document = server.request("POST", f"/api/v2/models/{TINY}/load", {field: wrong})
        assert (status, document["error"]["param"]) == (400, field)
    check(server.post(f"/api/v2/models/{TINY}/load", {"threads": 1}), LOADED)


def test_chat_completion(server: ServerProcess) -> None:
    answer = server.post(f"/api/v2/chat/{TINY}", CHAT_BODY)
    check(answer, ANSWER)
    usage = answer["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]


@pytest.mark.parametrize("path", ["", "/stream"])
@pytest.mark.parametrize(
    ("field", "values"),
    [("temperature", (-0.1, 2.1, "hot")), ("top_p", ("x",)), ("messages", ([], "hi", None))],
)
def test_a_wrong_field_of_a_chat_is_a_400_that_names_it(
    server: ServerProcess, path: str, field: str, values: tuple[object, ...]
) -> None:
    for value in values:
        status, document = server.request(
            "POST", f"/api/v2/chat/{TINY}{path}", CHAT_BODY | {field: value}
        )
        assert status == 400, (field, value, document)
        assert document["error"]["param"] == field


@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_the_limits_of_temperature_are_allowed(server: ServerProcess, temperature: float) -> None:
    body = CHAT_BODY | {"temperature": temperature, "n_predict": 2}
    check(server.post(f"/api/v2/chat/{TINY}", body), ANSWER)


def test_chat_completion_stream(server: ServerProcess) -> None:
    with server.open(f"/api/v2/chat/{TINY}/stream", STREAM_BODY) as response:
        *chunks, done = all_events(response)
    assert done == "[DONE]"
    for chunk in chunks:
        check(chunk, CHUNK)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"]["role"] == "assistant"
    assert choices[0]["delta"]["content"]
    assert all("role" not in choice["delta"] for choice in choices[1:])
    assert all(choice["finish_reason"] is None for choice in choices[:-1])
    assert choices[-1]["finish_reason"] in ("stop", "length")
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1


def test_an_answer_of_one_token_is_one_chunk(server: ServerProcess) -> None:
    body = STREAM_BODY | {"n_predict": 1}
    with server.open(f"/api/v2/chat/{TINY}/stream", body) as response:
        chunk, done = all_events(response)
    check(chunk, CHUNK)
    assert done == "[DONE]"
    assert chunk["choices"][0]["delta"]["role"] == "assistant"
    assert chunk["choices"][0]["finish_reason"] == "length"


def test_system_metrics(server: ServerProcess) -> None:
    document = server.get("/api/v2/metrics")
    check(document, METRICS)
    assert 0 <= document["cpu"]["utilization"] <= 100
    assert 0 < document["memory"]["percent"] < 100


def test_health_check(server: ServerProcess) -> None:
    document = server.get("/api/v2/health")
    check(document, HEALTH)
    assert set(document) == {"status", "version", "uptime", "last_error"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v2/models/nothing.gguf"),
        ("POST", "/api/v2/models/nothing.gguf/load"),
        ("POST", "/api/v2/models/nothing.gguf/unload"),
        ("POST", "/api/v2/chat/nothing.gguf"),
        ("POST", "/api/v2/chat/nothing.gguf/stream"),
    ],
)
def test_an_unknown_model_is_a_404(server: ServerProcess, method: str, path: str) -> None:
    status, document = server.request(method, path, CHAT_BODY if "chat" in path else None)
    assert (status, document["error"]["code"]) == (404, "model_not_found")
