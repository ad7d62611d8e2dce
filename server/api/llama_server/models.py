"""llama-server's /models/load, /models/unload and /models/sse, the routes of its router mode."""

import asyncio
import contextlib
import logging
from functools import partial
from typing import Any

from aiohttp import web

from server.api.llama_server.downloads import (
    change_documents,
    download_documents,
    running_download,
)
from server.api.llama_server.schema_models import ModelBody, SuccessDocument
from server.api.shared.modalities import loaded_modalities
from server.api.shared.model_documents import STATUS_WORDS, is_failed, listed_name, model_document
from server.errors import InvalidRequestError
from server.http.app_keys import BUS, CONFIG, DOWNLOADS, EVENT_STREAMS, REGISTRY, REQUEST_ID
from server.http.body.json_body import json_reply, read_body
from server.http.sse import SseWriter, sse_text
from server.models.entry import ModelEntry
from server.models.event_bus import Subscription
from server.models.events import (
    DownloadChanged,
    Lagged,
    LoadProgress,
    ModelsChanged,
    PublicEvent,
    StateChanged,
)
from server.models.registry import ModelRegistry
from server.models.state import ModelState

logger = logging.getLogger(__name__)
# llama-server has a stage of progress for each file; here the whole load is one.
_STAGE = "text_model"
_FAILED_EXIT_CODE = 1


async def load_model(request: web.Request) -> web.Response:
    """POST /models/load: answers when the load has started, without waiting for its end."""
    body = await read_body(request, ModelBody)
    registry = request.app[REGISTRY]
    entry = await registry.find(body.model)
    if entry.loading is not None or entry.state is ModelState.LOADED:
        raise InvalidRequestError("model is already running", param="model", code="model_loaded")
    await _begin_load(registry, request.app[BUS].subscribe(entry.id), entry)
    return json_reply(SuccessDocument())


async def unload_model(request: web.Request) -> web.Response:
    """POST /models/unload: lets running answers finish, and answers when the model is unloaded;
    cancels the download of a model.
    """
    body = await read_body(request, ModelBody)
    if (download := running_download(request.app, body.model)) is not None:
        await request.app[DOWNLOADS].cancel(download.id)
        return json_reply(SuccessDocument())
    registry = request.app[REGISTRY]
    entry = await registry.find(body.model)
    if entry.loading is None and not entry.is_in_memory:
        raise InvalidRequestError("model is not running", param="model", code="model_not_loaded")
    await registry.unload(entry.id)
    return json_reply(SuccessDocument())


async def watch_models(request: web.Request) -> web.StreamResponse:
    """GET /models/sse: events of all models in llama-server's form, without an end."""
    with request.app[EVENT_STREAMS].count(), request.app[BUS].subscribe() as events:
        sse = await SseWriter.open(request)
        try:
            await _forward(request.app, sse, events)
        except ConnectionResetError:
            logger.debug("request %s: the client disconnected", request[REQUEST_ID])
        return sse.response


async def _begin_load(
    registry: ModelRegistry,
    subscription: contextlib.AbstractContextManager[Subscription],
    entry: ModelEntry,
) -> None:
    """Start a load, and return when it runs. Raises ApiError if it fails before that."""
    with subscription as events:
        load = asyncio.ensure_future(registry.load(entry.id))
        load.add_done_callback(lambda _: events.end())
        while entry.loading is None and not load.done():
            await events.next()
    if load.done():
        await load
    else:
        # Cancels only the wait: the load itself goes on.
        load.cancel()


async def _forward(app: web.Application, sse: SseWriter, events: Subscription) -> None:
    streams = app[EVENT_STREAMS]
    while not events.has_ended:
        event = await events.next(app[CONFIG].ping_seconds)
        if event is not None:
            if text := streams.text(event, "llama-server", partial(_text, app, event)):
                await sse.write(text)
        elif not events.has_ended:
            await sse.ping()


def _text(app: web.Application, event: PublicEvent) -> bytes:
    return sse_text(_documents(app, event))


def _documents(app: web.Application, event: PublicEvent) -> list[dict[str, Any]]:
    """The event in llama-server's form; empty for events that llama-server does not have."""
    match event:
        case StateChanged():
            return [_state_document(app, event)]
        case LoadProgress():
            progress = {"stages": [_STAGE], "current": _STAGE, "value": event.progress}
            data = {"status": "loading", "progress": progress}
            return [_document(app, event.model, "status_change", data)]
        case DownloadChanged():
            return download_documents(app, event)
        case ModelsChanged():
            return change_documents(event)
        case Lagged():
            return [{"model": "*", "event": "models_reload"}]
        case _:
            return []


def _state_document(app: web.Application, event: StateChanged) -> dict[str, Any]:
    state = ModelState(event.status)
    data: dict[str, Any] = {"status": STATUS_WORDS[state]}
    entry = _entry(app, event.model)
    if state is ModelState.LOADED and entry is not None:
        data["info"] = model_document(app, entry, loaded_modalities(entry))
    if data["status"] == "unloaded":
        data["exit_code"] = _FAILED_EXIT_CODE if is_failed(state) else 0
    kind = "model_status" if state is ModelState.QUEUED else "status_change"
    return _document(app, event.model, kind, data)


def _document(
    app: web.Application, model_id: str, kind: str, data: dict[str, Any]
) -> dict[str, Any]:
    entry = _entry(app, model_id)
    name = model_id if entry is None else listed_name(app, entry)
    return {"model": name, "event": kind, "data": data}


def _entry(app: web.Application, model_id: str) -> ModelEntry | None:
    return next((entry for entry in app[REGISTRY].entries if entry.id == model_id), None)
