"""/api/v2/models: list, show, estimate, load, unload, delete."""

import asyncio

from aiohttp import web

from server.api.shared.hub_deletion import delete_model as delete_from_cache
from server.api.shared.modalities import modalities
from server.api.v2.events import query_flag, stream_load, wants_events
from server.api.v2.load_schema import estimate_reply, load_reply
from server.api.v2.schema import UnloadBody, loaded_model, model_detail, model_summary
from server.formats import iso_time, utc_now
from server.http.access import require_admin
from server.http.app_keys import COMPANIONS, REGISTRY
from server.http.body.json_body import json_reply, read_body
from server.protocol.load_settings import LoadSettings


async def list_models(request: web.Request) -> web.Response:
    """GET /api/v2/models."""
    registry = request.app[REGISTRY]
    entries = await registry.list()
    kinds = await asyncio.gather(*(modalities(request.app, entry) for entry in entries))
    return json_reply(
        {
            "available_models": [
                model_summary(entry, registry.aliases_of(entry.id), read)
                for entry, read in zip(entries, kinds, strict=True)
            ],
            "loaded_models": {
                entry.id: loaded_model(entry) for entry in entries if entry.is_in_memory
            },
        }
    )


async def show_model(request: web.Request) -> web.Response:
    """GET /api/v2/models/{model_id}; never loads the model."""
    registry = request.app[REGISTRY]
    entry = await registry.find(request.match_info["model_id"])
    kinds = await modalities(request.app, entry)
    stats = await entry.worker.stats() if entry.is_in_memory else None
    summary = model_summary(entry, registry.aliases_of(entry.id), kinds)
    return json_reply(model_detail(summary, entry, stats))


async def load_model(request: web.Request) -> web.StreamResponse:
    """POST /api/v2/models/{model_id}/load; without a body with the defaults, with ?stream=true as
    events.
    """
    settings = await _read_settings(request)
    if wants_events(request):
        return await stream_load(request, settings)
    entry = await request.app[REGISTRY].load(request.match_info["model_id"], settings)
    return json_reply(load_reply(entry))


async def estimate_model(request: web.Request) -> web.Response:
    """POST /api/v2/models/{model_id}/estimate; takes the body of a load, but loads nothing."""
    settings = await _read_settings(request)
    preview = await request.app[REGISTRY].estimate(request.match_info["model_id"], settings)
    return json_reply(estimate_reply(preview))


async def _read_settings(request: web.Request) -> LoadSettings:
    """The settings in the body. Files are checked here, before a load can evict other models."""
    settings = await read_body(request, LoadSettings, empty=LoadSettings())
    if settings.names_files:
        await asyncio.to_thread(request.app[COMPANIONS].find, settings)
    return settings


async def unload_model(request: web.Request) -> web.Response:
    """POST /api/v2/models/{model_id}/unload; waits for running answers, unless `force` is set."""
    body = await read_body(request, UnloadBody, empty=UnloadBody())
    force = body.force or query_flag(request, "force")
    await request.app[REGISTRY].unload(request.match_info["model_id"], force=force)
    return json_reply(
        {
            "status": "success",
            "message": "Model unloaded successfully",
            "unload_time": iso_time(utc_now()),
        }
    )


async def delete_model(request: web.Request) -> web.Response:
    """DELETE /api/v2/models/{model_id}: removes a downloaded model from the hub's cache."""
    require_admin(request)
    entry = await request.app[REGISTRY].find(request.match_info["model_id"])
    freed = await delete_from_cache(request.app, entry)
    return json_reply({"id": entry.id, "deleted": True, "bytes_freed": freed})
