"""The OpenAPI 3.1 description, built from the routes and the structs that parse their requests."""

import inspect
import re
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from importlib import resources
from typing import Any, Final

import msgspec
from aiohttp import web

from llamabind import __version__
from llamabind.sampling.params import RANGES
from server.api.schema.operation import EVENTS, HTML, JSON, LINES, Operation
from server.api.schema.replies.answers import ChunkDocument
from server.api.schema.sampling import SamplingFields
from server.http.app_keys import CONFIG
from server.http.body.json_body import json_reply

_REFERENCE = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(?P<name>\w+)[^}]*\}")
_PARAMETERS = {
    "model_id": "id of the model: its path below the models directory, slashes plain or as %2F",
    "id": "id of the download",
    "org": "organisation or user on the hub",
    "repo": "name of the repository",
    "file": "path of the file below server/web/static, or vendor/ and a path; "
    "the page puts its version in front",
    "id_slot": "number of the slot (llama.cpp's sequence id), from 0",
}
_WORDS = re.compile(r"[^A-Za-z0-9]+")
_STREAM_TEXT = "server-sent events: each has `data:` with one JSON document, or is a comment"
# The page may fetch only the description.
_PAGE_POLICY: Final = (
    "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
)


async def openapi(request: web.Request) -> web.Response:
    """GET /api/v2/openapi.json."""
    table = request.app.router.routes()
    prefix = request.app[CONFIG].api_prefix
    paths = tuple(
        (route.method, route.resource.canonical.removeprefix(prefix))
        for route in table
        if route.resource is not None
    )
    return json_reply(describe(paths) | {"servers": [{"url": prefix or "/"}]})


async def page(_request: web.Request) -> web.Response:
    """GET /docs: the description as a web page; loads nothing from other hosts."""
    text = resources.files("server.api").joinpath("docs.html").read_text("utf-8")
    return web.Response(
        text=text, content_type=HTML, headers={"Content-Security-Policy": _PAGE_POLICY}
    )


@cache
def describe(routes: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """The description of these (method, path) pairs; pairs without an Operation are left out."""
    # Imported here, because most servers are never asked for their description.
    from server.api.operations import OPERATIONS

    known = {
        (method, path): OPERATIONS[method, path]
        for method, path in ((method, plain_path(path)) for method, path in routes)
        if (method, path) in OPERATIONS
    }
    schemas, components = _schemas(known.values())
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in known.items():
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "llamabind server",
            "version": __version__,
            "description": "Chat with GGUF models, and manage them. Unknown fields of a request "
            "are ignored, except in a load, which refuses them; null means absent.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
        # A key is needed only on servers that were started with keys.
        "security": [{}, {"bearer": []}, {"key": []}],
    }


def plain_path(path: str) -> str:
    """An aiohttp path without the patterns of its parameters."""
    return _PARAMETER.sub(lambda match: f"{{{match['name']}}}", path)


def _schemas(operations: Iterable[Operation]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Schema references by type, and the components that they refer to."""
    types: list[Any] = []
    for operation in operations:
        kinds = (operation.body, operation.reply, operation.error, *operation.events)
        types += [kind for kind in kinds if kind is not None]
    unique = list(dict.fromkeys(types))
    references, components = msgspec.json.schema_components(unique, ref_template=_REFERENCE)
    for component in components.values():
        if "description" in component:
            component["description"] = inspect.cleandoc(component["description"])
    found = dict(zip(unique, references, strict=True))
    for kind, reference in found.items():
        if isinstance(kind, type) and issubclass(kind, SamplingFields):
            _bound(components[reference["$ref"].rpartition("/")[2]]["properties"])
    return found, components


def _bound(properties: dict[str, Any]) -> None:
    """Add the ranges of sampling fields, which llamabind checks instead of the structs."""
    for name, (low, high) in RANGES.items():
        for schema in properties.get(name, {}).get("anyOf", ()):
            if schema.get("type") in ("integer", "number"):
                schema.setdefault("minimum", low)
                schema.setdefault("maximum", high)


def _operation(
    method: str, path: str, operation: Operation, schemas: dict[Any, Any]
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "operationId": _WORDS.sub("_", f"{method.lower()}{path}").strip("_"),
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": _parameters(path, operation),
        "responses": _responses(operation, schemas),
    }
    if operation.body is not None:
        document["requestBody"] = {
            "required": operation.needs_body,
            "content": {JSON: {"schema": schemas[operation.body]}},
        }
    return document


def _parameters(path: str, operation: Operation) -> list[dict[str, Any]]:
    in_path = [
        {
            "name": match["name"],
            "in": "path",
            "required": True,
            "description": _PARAMETERS[match["name"]],
            "schema": {"type": "string", "minLength": 1},
        }
        for match in _PARAMETER.finditer(path)
    ]
    in_query = [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in operation.query
    ]
    return in_path + in_query


def _responses(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.reply is not None:
        content[JSON] = {"schema": schemas[operation.reply]}
    if operation.streams:
        content[EVENTS] = {"schema": _events(operation, schemas)}
    if operation.lines:
        content[LINES] = {"schema": {"description": "JSON documents, one per line"}}
    if operation.text is not None:
        content[operation.text] = {"schema": {"type": "string"}}
    responses = {"200": {"description": "success", "content": content}}
    if operation.starts:
        responses["202"] = {"description": "accepted", "content": content}
    for status in operation.all_errors:
        error = schemas[operation.error]
        if status == HTTPStatus.SERVICE_UNAVAILABLE and operation.tag == "Operation":
            # A probe may also answer 503 with its own document.
            error = {"anyOf": [error, schemas[operation.reply]]}
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase.lower(),
            "content": {JSON: {"schema": error}},
        }
    return responses


def _events(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    """The schema of one event of a stream."""
    event: dict[str, Any] = {"description": _STREAM_TEXT}
    if not operation.events:
        return event
    documents = {"anyOf": [schemas[kind] for kind in operation.events]}
    data: dict[str, Any] = {"contentMediaType": JSON, "contentSchema": documents}
    if ChunkDocument in operation.events:
        data = {"anyOf": [{"const": "[DONE]"}, data]}
    return event | {"type": "object", "properties": {"data": {"type": "string"} | data}}
