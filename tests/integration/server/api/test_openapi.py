"""The OpenAPI description: complete, consistent, and of the structs that parse requests."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pytest_aiohttp.plugin import AiohttpClient

from llamabind.errors import InvalidParameterError
from llamabind.sampling.params import RANGES
from server.api.openapi import plain_path
from server.api.operations import OPERATIONS
from server.api.routes import routes
from server.api.schema.replies import answers, models, probes
from server.api.v2.schema import ChatBody
from server.models.events import LoadProgress, StateChanged
from server.monitoring.model_figures import MetricsDocument
from server.protocol.job import Job
from server.protocol.load_settings import LoadSettings
from tests.support.gguf_files import write_gguf
from tests.support.server_app import chat_body, events, make_app

_SPEECH = {"role": "user", "content": "hi"}
_METHODS = {"GET", "POST", "PUT", "DELETE"}


@pytest.fixture
async def document(aiohttp_client: AiohttpClient, tmp_path: Path) -> dict[str, Any]:
    client = await aiohttp_client(make_app(tmp_path))
    response = await client.get("/api/v2/openapi.json")
    assert response.content_type == "application/json"
    described: dict[str, Any] = await response.json()
    return described


def test_every_route_is_described() -> None:
    served = {(route.method, plain_path(route.path)) for route in routes() if route.method != "*"}
    assert served - OPERATIONS.keys() == set(), "describe new routes in server/api/operations.py"


def test_the_document_has_every_route(document: dict[str, Any]) -> None:
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    assert described == {
        (route.method, plain_path(route.path)) for route in routes() if route.method != "*"
    }
    assert document["openapi"] == "3.1.0"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(
        re.findall(r'"#/components/schemas/(\w+)"', msgspec.json.encode(document).decode())
    )
    assert references
    assert references - document["components"]["schemas"].keys() == set()


def test_descriptions_are_for_clients_and_name_nothing_of_python(document: dict[str, Any]) -> None:
    texts = list(_descriptions(document["components"]))
    assert len(texts) > 100
    pythonic = re.compile(r"\bRaises\b|\bNone\b|\bTrue\b|\bFalse\b|\w\(\)|\b[A-Z]\w+Error\b")
    assert [text for text in texts if pythonic.search(text)] == []


def _descriptions(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(text := part.get("description"), str):
            yield text
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _descriptions(inner)


def test_no_component_is_named_after_a_module(document: dict[str, Any]) -> None:
    """msgspec does that to types of the same name; a file that moves would rename them."""
    assert [name for name in document["components"]["schemas"] if "." in name] == []


def test_operations_have_a_summary_an_id_of_their_own_and_a_success(
    document: dict[str, Any],
) -> None:
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert all(operation["summary"] for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    without_content = [
        operation["operationId"]
        for operation in operations
        if not operation["responses"]["200"].get("content")
    ]
    # Ollama's answer is empty.
    assert without_content == ["delete_api_delete"]


@pytest.mark.parametrize("struct", [ChatBody, LoadSettings])
def test_requests_are_described_by_the_types_that_parse_them(
    document: dict[str, Any], struct: type[msgspec.Struct]
) -> None:
    schema = document["components"]["schemas"][struct.__name__]
    assert set(schema["properties"]) == set(struct.__struct_fields__)


async def test_the_page_needs_nothing_from_elsewhere(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(make_app(tmp_path))
    response = await client.get("/docs")
    assert response.content_type == "text/html"
    text = await response.text()
    assert "://" not in text
    assert re.findall(r"(?:src|href)=", text) == []
    assert 'fetch("api/v2/openapi.json", { headers })' in text


async def test_where_keys_are_set_the_page_asks_for_one_and_only_the_description_needs_it(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(make_app(tmp_path, api_keys=("secret",)))
    page = await client.get("/docs")
    assert page.status == 200
    text = await page.text()
    assert 'type="password"' in text
    assert '"X-Api-Key": bytes(key)' in text
    assert "form-action 'none'" in page.headers["Content-Security-Policy"]
    assert (await client.get("/api/v2/openapi.json")).status == 401
    known = await client.get("/api/v2/openapi.json", headers={"X-Api-Key": "secret"})
    assert known.status == 200


_WHOLE = [
    ("GET", "/api/v2/models", None, models.ModelsDocument),
    ("GET", "/api/v2/models/m.gguf", None, models.ModelDocument),
    ("GET", "/api/v2/models/bad.gguf", None, models.ModelDocument),
    ("POST", "/api/v2/models/m.gguf/estimate", {"n_ctx": 64}, models.EstimateDocument),
    ("POST", "/api/v2/models/m.gguf/load", {"n_ctx": 64}, models.LoadDocument),
    ("GET", "/api/v2/models/m.gguf", None, models.ModelDocument),
    ("GET", "/api/v2/models", None, models.ModelsDocument),
    ("GET", "/health", None, probes.ProbeDocument),
    ("GET", "/ready?model=m.gguf", None, probes.ProbeDocument),
    ("GET", "/api/v2/health", None, probes.HealthDocument),
    ("GET", "/api/v2/metrics", None, MetricsDocument),
    ("POST", "/api/v2/models/m.gguf/unload", None, models.UnloadDocument),
]


async def test_answers_are_described_to_their_last_key(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    (tmp_path / "bad.gguf").write_bytes(b"no model")
    client = await aiohttp_client(make_app(tmp_path))
    for method, path, body, kind in _WHOLE:
        response = await client.request(method, path, json=body)
        _assert_described(await response.json(), kind)


async def test_events_are_described_to_their_last_key(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path))
    more = {"stream_options": {"include_usage": True}, "logprobs": True, "top_logprobs": 1}
    body = chat_body("echo: <r> hm </r> a <f> {} </f>", **more)
    for path in ("/api/v2/chat/m.gguf/stream", "/v1/chat/completions"):
        asked = body | {"model": "m.gguf", "stream": True}
        *chunks, done = await events(await client.post(path, json=asked))
        assert done == "[DONE]"
        for chunk in chunks:
            chunk.pop("system_fingerprint", None)
            _drop(chunk.get("usage") or {}, "details")
            _assert_described(chunk, answers.ChunkDocument)
    loading = await client.post("/api/v2/models/m.gguf/load?stream=true", json={"n_ctx": 48})
    *changes, reply = await events(loading)
    for change in changes:
        _assert_described(change, StateChanged | LoadProgress)
    assert len(changes) >= 4
    _assert_described(reply, models.LoadDocument)


def _drop(document: dict[str, Any], ending: str) -> None:
    """OpenAI's details of token counts are not ours to describe."""
    for name in [name for name in document if name.endswith(ending)]:
        del document[name]


def _assert_described(document: Any, kind: Any) -> None:
    """Assert that a described struct has all fields of the struct."""
    kept = msgspec.json.encode(msgspec.convert(document, kind))
    assert msgspec.json.decode(kept) == document


def test_ranges_of_sampling_are_those_that_are_checked(document: dict[str, Any]) -> None:
    properties = document["components"]["schemas"]["ChatBody"]["properties"]
    number = {"type": "number", "minimum": 0.0, "maximum": 1.0}
    assert number in properties["top_p"]["anyOf"]
    # The struct's own, narrower constraint is kept.
    assert properties["temperature"]["anyOf"][0]["maximum"] == 2.0
    for name, (_, high) in RANGES.items():
        if name not in properties:
            continue
        _job({"messages": [_SPEECH], name: 2.0 if name == "temperature" else high})
        bounds = {schema.get("maximum") for schema in properties[name]["anyOf"]}
        assert bounds - {None} == {2.0 if name == "temperature" else high}, name
        with pytest.raises((InvalidParameterError, msgspec.ValidationError)):
            _job({"messages": [_SPEECH], name: high + max(1, abs(high))})


def _job(body: dict[str, Any]) -> Job:
    return msgspec.convert(body, ChatBody).to_job("")


def test_every_stream_of_api_v2_describes_its_events(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for operation in item.values():
            stream = operation["responses"]["200"]["content"].get("text/event-stream")
            if stream is not None and path.startswith("/api/v2"):
                assert "contentSchema" in str(stream["schema"]["properties"]["data"]), path


def test_every_path_describes_the_errors_of_the_access_checks(
    document: dict[str, Any],
) -> None:
    for path, item in document["paths"].items():
        for operation in item.values():
            assert {"400", "401", "403", "408", "413"} <= set(operation["responses"]), path
