"""Endpoints for probes and load balancers: /live, /health, /ready.

They read only this process's memory: no disk, no worker, no lock; they never load a model.
"""

from typing import Any

from aiohttp import web

from server.errors import UnavailableError
from server.http.access import require_known
from server.http.app_keys import CALLER, CONFIG, REGISTRY, STATUS
from server.http.body.json_body import json_reply
from server.models.entry import ModelEntry
from server.models.state import ModelState

_RETRY_SECONDS = 2
# Models in these states are not listed: they are only files on disk.
_UNLISTED = (ModelState.UNLOADED, ModelState.BROKEN)


async def live(_: web.Request) -> web.Response:
    """GET /live: 200 while this process answers.

    /health and /ready report a worker process that hangs: restarting the whole server for it would
    take the other models down too.
    """
    return json_reply({"status": "ok"})


async def health(request: web.Request) -> web.Response:
    """GET /health and /v1/health: llama-server's form, with all models in use or failed.

    If keys are set, only requests with a key see the models. With --model it is a 503 while that
    model loads, as in llama-server.
    """
    entries = request.app[REGISTRY].entries
    is_loading = request.app[STATUS].is_starting or any(map(_is_loading, entries))
    if request.app[CONFIG].model_file is not None and is_loading:
        raise UnavailableError("Loading model", retry_after=_RETRY_SECONDS)
    if not request[CALLER].is_known:
        return json_reply({"status": "ok"})
    listed = [entry for entry in entries if entry.state not in _UNLISTED]
    models = {entry.id: _describe(request, entry) for entry in listed}
    return json_reply({"status": "ok", "models": models})


async def ready(request: web.Request) -> web.Response:
    """GET /ready: 200 if the server accepts requests; with ?model=x, if x is loaded and computes.

    With ?model it needs a key, if keys are set.
    """
    if request.app[STATUS].is_shutting_down:
        raise UnavailableError("the server is shutting down", retry_after=_RETRY_SECONDS)
    model_id = request.query.get("model")
    if model_id is None:
        return json_reply({"status": "ready"})
    require_known(request)
    entry = request.app[REGISTRY].find_known(model_id)
    if entry.state is ModelState.LOADED and not _is_stalled(request, entry):
        return json_reply({"status": "ready", "model": entry.id})
    word = "stalled" if entry.state is ModelState.LOADED else entry.state.value
    error = UnavailableError(
        f"model {entry.id!r} is {word}", code="model_not_ready", retry_after=_RETRY_SECONDS
    )
    error.extra["model_status"] = word
    raise error


def _describe(request: web.Request, entry: ModelEntry) -> dict[str, Any]:
    document: dict[str, Any] = {"status": entry.state.value}
    if entry.state is ModelState.LOADING:
        document["progress"] = round(entry.progress, 3)
    if entry.failure is not None:
        document["reason"] = entry.failure.reason
    if entry.is_in_memory:
        stats = entry.worker.snapshot
        document["running"] = stats.running if stats else 0
        document["waiting"] = stats.waiting if stats else 0
        document["paused"] = stats.paused if stats else 0
        document["stalled"] = _is_stalled(request, entry)
    return document


def _is_loading(entry: ModelEntry) -> bool:
    return entry.state in (ModelState.QUEUED, ModelState.LOADING)


def _is_stalled(request: web.Request, entry: ModelEntry) -> bool:
    limit = request.app[CONFIG].stall_seconds
    return entry.is_in_memory and entry.worker.stalled_seconds > limit
