"""llama-server's /lora-adapters: how much of each adapter is applied."""

from collections.abc import Iterable
from pathlib import PurePath

from aiohttp import web

from server.api.llama_server.asked_model import asked_entry
from server.api.llama_server.schema_adapters import AdapterChoice, AdapterDocument
from server.errors import InvalidRequestError
from server.http.access import require_admin
from server.http.app_keys import REGISTRY
from server.http.json_body import json_reply, read_body
from server.protocol.tasks import AdapterInfo, AdapterList, ListAdapters, SetAdapters
from server.requests.dispatch import ask, peek


async def list_adapters(request: web.Request) -> web.Response:
    """GET /lora-adapters; of a model that is not loaded as it would be."""
    entry = await asked_entry(request)
    asked = entry.settings.lora or ()
    if entry.is_in_memory and asked:
        result = await peek(entry, ListAdapters())
        assert isinstance(result, AdapterList)
        return json_reply(_documents(result.adapters))
    files = [AdapterInfo(PurePath(one.file).name, one.factor, "", "") for one in asked]
    return json_reply(_documents(files))


async def set_adapters(request: web.Request) -> web.Response:
    """POST /lora-adapters: answered when it is so, after the answers that run now.

    Good until the model is loaded again. It is for all requests, so it needs the admin key.
    """
    require_admin(request)
    body = await read_body(request, list[AdapterChoice])
    entry = await asked_entry(request)
    scales = {choice.id: choice.scale for choice in body}
    if len(scales) < len(body):
        raise InvalidRequestError("field 'id': an adapter is named twice", param="id")
    result = await ask(request.app[REGISTRY], entry.id, SetAdapters(scales))
    assert isinstance(result, AdapterList)
    return json_reply(_documents(result.adapters))


def _documents(adapters: Iterable[AdapterInfo]) -> list[AdapterDocument]:
    return [
        AdapterDocument(number, info.name, info.scale, info.task_name, info.prompt_prefix)
        for number, info in enumerate(adapters)
    ]
