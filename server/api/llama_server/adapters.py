"""llama-server's /lora-adapters: the scale of each LoRA adapter of a model."""

from collections.abc import Iterable
from pathlib import PurePath

from aiohttp import web

from server.api.llama_server.requested_model import requested_entry
from server.api.llama_server.schema_adapters import AdapterChoice, AdapterDocument
from server.api.schema.sampling import scales_by_adapter
from server.http.access import require_admin
from server.http.app_keys import REGISTRY
from server.http.body.json_body import json_reply, read_body
from server.protocol.tasks import AdapterInfo, AdapterList, ListAdapters, SetAdapters
from server.requests.dispatch import ask, peek


async def list_adapters(request: web.Request) -> web.Response:
    """GET /lora-adapters; for a model that is not loaded the adapters in its settings."""
    entry = await requested_entry(request)
    configured = entry.settings.lora or ()
    if entry.is_in_memory and configured:
        result = await peek(entry, ListAdapters())
        assert isinstance(result, AdapterList)
        return json_reply(_documents(result.adapters))
    files = [AdapterInfo(PurePath(one.file).name, one.factor, "", "") for one in configured]
    return json_reply(_documents(files))


async def set_adapters(request: web.Request) -> web.Response:
    """POST /lora-adapters: sets the scales for later requests that do not set their own.

    They hold until the model is loaded again. They affect all requests, so an admin key is needed.
    """
    require_admin(request)
    body = await read_body(request, list[AdapterChoice])
    entry = await requested_entry(request)
    scales = scales_by_adapter(((choice.id, choice.scale) for choice in body), "id")
    result = await ask(request.app[REGISTRY], entry.id, SetAdapters(scales))
    assert isinstance(result, AdapterList)
    return json_reply(_documents(result.adapters))


def _documents(adapters: Iterable[AdapterInfo]) -> list[AdapterDocument]:
    return [
        AdapterDocument(number, info.name, info.scale, info.task_name, info.prompt_prefix)
        for number, info in enumerate(adapters)
    ]
