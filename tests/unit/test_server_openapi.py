"""The OpenAPI description: complete, consistent, and of the structs that parse requests."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pytest_aiohttp.plugin import AiohttpClient
from server_app import make_app

from server.api.openapi import plain_path
from server.api.operations import OPERATIONS
from server.api.routes import routes
from server.api.schema_v2 import ChatBody
from server.load_settings import LoadSettings

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


def test_operations_have_a_summary_an_id_of_their_own_and_a_success(
    document: dict[str, Any],
) -> None:
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert all(operation["summary"] for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["responses"]["200"]["content"] for operation in operations)


@pytest.mark.parametrize("struct", [ChatBody, LoadSettings])
def test_requests_are_described_by_what_parses_them(
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
    assert 'fetch("api/v2/openapi.json")' in text
