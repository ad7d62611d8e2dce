"""Parts of the ingress that need no Ray: names, paths, lists, metrics, keys, errors."""

import gzip
import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.cluster.config import ClusterModel
from server.cluster.front.access import Access
from server.cluster.front.failures import TooLargeError, last_event, replica_lost
from server.cluster.front.labels import merge_metrics
from server.cluster.front.lists import union
from server.cluster.front.names import Names
from server.cluster.front.paths import PUBLIC, is_of_one_server, is_public, model_in_path
from server.cluster.front.request import HttpRequest
from server.errors import (
    AuthenticationError,
    ForbiddenError,
    InvalidRequestError,
    ModelNotFoundError,
)
from server.http import access

_MODELS = (
    ClusterModel(name="chat", model="/m/chat-7b.gguf", aliases=("gpt-4o",), cpus=1),
    ClusterModel(name="vectors", model="org/repo:Q8_0", cpus=1),
)


def _request(method: str = "POST", target: str = "/v1/x", **headers: str) -> HttpRequest:
    path, _, query = target.partition("?")
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HttpRequest.of(
        {"method": method, "path": path, "query_string": query.encode(), "headers": pairs}
    )


def _body(document: Any, target: str = "/v1/x") -> HttpRequest:
    request = _request(target=target)
    request.document = document
    return request


@pytest.mark.parametrize(
    ("request_", "model"),
    [
        (_body({"model": "chat"}), "chat"),
        (_body({"model": "gpt-4o"}), "chat"),
        (_body({"model": "chat-7b:latest"}), "chat"),
        (_body({"model": "org/repo:Q8_0"}), "vectors"),
        (_body({"name": "vectors"}, "/api/show"), "vectors"),
        (_body({}, "/api/v2/chat/chat-7b.gguf/stream"), "chat"),
        (_request("GET", "/v1/models/vectors"), "vectors"),
        (_request("GET", "/props?model=vectors"), "vectors"),
        (_request("GET", "/props"), "chat"),
    ],
)
def test_a_request_names_its_model(request_: HttpRequest, model: str) -> None:
    assert Names(_MODELS).of(request_) == model


def test_an_unknown_or_a_missing_name_is_an_error() -> None:
    with pytest.raises(ModelNotFoundError, match="'gpt-5' does not exist"):
        Names(_MODELS).of(_body({"model": "gpt-5"}))
    with pytest.raises(InvalidRequestError, match=r"field 'model' is required.*chat, vectors"):
        Names(_MODELS).of(_body({}))


def test_a_name_of_the_file_goes_before_the_name_of_another_models_file() -> None:
    models = (
        ClusterModel(name="old", model="/m/chat.gguf", cpus=1),
        ClusterModel(name="new", model="/m/other.gguf", aliases=("chat.gguf",), cpus=1),
    )
    assert Names(models).of(_body({"model": "chat.gguf"})) == "new"


@pytest.mark.parametrize("body", [b"{", b"[1]", b'{"model": 5}', b'{"model": ["chat"]}'])
async def test_a_malformed_body_goes_to_a_replica_which_says_what_is_wrong(body: bytes) -> None:
    request = _request()

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body}

    await request.read(receive, 1 << 20)
    assert Names(_MODELS).of(request) == "chat"


def test_a_cluster_of_one_model_answers_with_it() -> None:
    assert Names(_MODELS[:1]).of(_body({"model": "gpt-5"})) == "chat"


def test_the_public_paths_are_those_of_the_server() -> None:
    assert PUBLIC | {"/ui/{file}"} == access._PUBLIC
    assert is_public("/ui/app.js")
    assert not is_public("/v1/models")


def test_paths_name_models() -> None:
    assert model_in_path("/api/v2/models/a/b.gguf/estimate") == "a/b.gguf"
    assert model_in_path("/api/v2/models") is None


@pytest.mark.parametrize(
    ("method", "path", "is_one"),
    [
        ("POST", "/api/v2/models/m/load", True),
        ("GET", "/api/v2/models/m", False),
        ("DELETE", "/api/v2/models/m", True),
        ("GET", "/api/v2/events", True),
        ("GET", "/models", False),
        ("POST", "/models", True),
        ("POST", "/props", True),
        ("GET", "/props", False),
        ("POST", "/api/pull", True),
        ("POST", "/v1/chat/completions", False),
    ],
)
def test_requests_that_change_one_server_are_refused(method: str, path: str, is_one: bool) -> None:
    assert is_of_one_server(method, path) is is_one


def test_lists_and_objects_of_models_are_joined() -> None:
    one = {"object": "list", "data": [1], "loaded_models": {"a": 1}}
    other = {"object": "list", "data": [2], "loaded_models": {"b": 2}}
    assert union([one, other], ("data", "models", "loaded_models")) == {
        "object": "list",
        "data": [1, 2],
        "loaded_models": {"a": 1, "b": 2},
    }


def test_metrics_of_replicas_get_a_label_and_each_family_one_head() -> None:
    text = (
        '# HELP a_total Requests\n# TYPE a_total counter\na_total{model="m"} 1.0\n'
        '# HELP b Load\n# TYPE b histogram\nb_bucket{le="1"} 2\nb_sum 3\nb_count 2\n'
    )
    merged = merge_metrics([("r1", text), ("r2", text)])
    assert merged.count("# TYPE a_total counter") == merged.count("# HELP b Load") == 1
    families = {family.name: family for family in text_string_to_metric_families(merged)}
    assert [sample.labels for sample in families["a"].samples] == [
        {"replica": "r1", "model": "m"},
        {"replica": "r2", "model": "m"},
    ]
    assert len(families["b"].samples) == 6


def test_a_key_is_needed_but_for_probes() -> None:
    keys = Access(["user"], None)
    name = keys.check(_request(authorization="Bearer user"))
    assert name.startswith("key-")
    assert keys.check(_request(x_api_key="user")) == name
    assert keys.check(_request("GET", "/health")) == "local"
    for headers in ({}, {"authorization": "Bearer wrong"}):
        with pytest.raises(AuthenticationError):
            keys.check(_request(**headers))
    assert Access([], None).check(_request()) == "local"


def test_the_name_of_another_host_is_refused_on_loopback() -> None:
    local = Access([], ["llm.example"])
    for host in ("localhost:8080", "127.0.0.1", "[::1]:1", "llm.example"):
        local.check(_request(host=host))
    with pytest.raises(ForbiddenError, match=r"'evil\.example' is not a name"):
        local.check(_request(host="evil.example"))
    Access([], None).check(_request(host="any.example"))


class _Body:
    def __init__(self, *parts: bytes) -> None:
        self._parts = list(parts)

    async def __call__(self) -> MutableMapping[str, Any]:
        part = self._parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(self._parts)}


async def test_a_compressed_body_is_unpacked() -> None:
    raw = gzip.compress(json.dumps({"model": "m"}).encode())
    request = _request(content_encoding="gzip")
    await request.read(_Body(raw[:5], raw[5:]), 1000)
    assert request.document == {"model": "m"}
    assert request.pairs == ()


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_large_body_is_refused(encoding: str) -> None:
    raw = b"[" + b" " * 5000 + b"]"
    request = _request(content_encoding=encoding)
    with pytest.raises(TooLargeError) as refused:
        await request.read(_Body(gzip.compress(raw) if encoding == "gzip" else raw), 1000)
    assert (refused.value.status, refused.value.code) == (413, "request_too_large")


async def test_a_damaged_body_is_refused() -> None:
    request = _request(content_encoding="gzip")
    with pytest.raises(InvalidRequestError) as refused:
        await request.read(_Body(b"not gzip"), 1000)
    assert (refused.value.status, refused.value.code) == (400, "bad_body")


@pytest.mark.parametrize("raw", [b"{", b"\xff", b"[" * 100_000, b"[1]", b""])
async def test_a_body_that_is_no_object_is_left_to_the_server(raw: bytes) -> None:
    request = _request()
    await request.read(_Body(raw), 1 << 20)
    assert request.document == {}
    assert request.body == raw


@pytest.mark.parametrize(
    ("path", "content_type", "start"),
    [
        ("/v1/chat/completions", "text/event-stream", b'\n\ndata: {"error":'),
        ("/v1/messages", "text/event-stream", b'\n\nevent: error\ndata: {"type":"error"'),
        ("/v1/responses", "text/event-stream", b'\n\nevent: error\ndata: {"type":"error"'),
        ("/api/chat", "application/x-ndjson", b'{"error":"the replica'),
        ("/metrics", "text/plain", b""),
    ],
)
def test_a_broken_stream_ends_with_an_error_of_its_dialect(
    path: str, content_type: str, start: bytes
) -> None:
    event = last_event(path, content_type, replica_lost("m"))
    assert event.startswith(start)
    assert (b"replica_lost" in event) is bool(start)
