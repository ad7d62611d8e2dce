"""Ollama's /api/tags, /api/ps, /api/show, /api/version."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from aiohttp import web

from server.api.ollama.schema import (
    OllamaModel,
    OllamaModels,
    ShowBody,
    VersionDocument,
)
from server.api.shared.modalities import modalities
from server.api.shared.model_documents import capabilities, listed_name, template_of
from server.errors import ModelNotFoundError
from server.formats import iso_time, utc_now
from server.http.app_keys import CONFIG, REGISTRY, STATUS
from server.http.json_body import json_reply, read_body
from server.models.entry import ModelEntry

_TAG = ":latest"
_FOREVER = timedelta(days=36_500)


async def find_model(request: web.Request, name: str) -> ModelEntry:
    """The model for a name in Ollama's form: without .gguf, and with the tag :latest."""
    registry = request.app[REGISTRY]
    only = request.app[CONFIG].model_file
    if only is not None:
        return await registry.find(only.name)
    plain = name.removesuffix(_TAG)
    for candidate in (name, plain, f"{plain}.gguf"):
        with suppress(ModelNotFoundError):
            return await registry.find(candidate)
    return await registry.find(name)


async def tags(request: web.Request) -> web.Response:
    """GET /api/tags: all models on disk, except broken files."""
    app = request.app
    entries = [entry for entry in await app[REGISTRY].list() if not entry.file.broken]
    return json_reply(OllamaModels([_model(app, entry) for entry in entries]))


async def processes(request: web.Request) -> web.Response:
    """GET /api/ps: the models in memory."""
    app = request.app
    entries = [entry for entry in await app[REGISTRY].list() if entry.is_in_memory]
    return json_reply(OllamaModels([_process(app, entry) for entry in entries]))


async def show(request: web.Request) -> web.Response:
    """POST /api/show: template, details, header and capabilities of a model."""
    body = await read_body(request, ShowBody)
    entry = await find_model(request, body.model)
    header = entry.file.header
    info = dict(header.metadata) if header else {}
    info.pop("tokenizer.chat_template", None)
    document = OllamaModel(
        modified_at=iso_time(entry.file.modified),
        template=template_of(entry),
        details=_details(entry),
        model_info=info,
        capabilities=capabilities(entry, await modalities(request.app, entry)),
    )
    return json_reply(document)


async def version(request: web.Request) -> web.Response:
    """GET /api/version."""
    return json_reply(VersionDocument(request.app[STATUS].version))


def _model(app: web.Application, entry: ModelEntry) -> dict[str, Any]:
    file = entry.file
    name = listed_name(app, entry)
    return {
        "name": name,
        "model": name,
        "modified_at": iso_time(file.modified),
        "size": file.size,
        "digest": "",
        "details": _details(entry),
    }


def _process(app: web.Application, entry: ModelEntry) -> dict[str, Any]:
    model = entry.worker.model
    on_gpu = sum(device.used_bytes for device in entry.memory if device.kind == "gpu")
    return _model(app, entry) | {
        "size": model.memory_bytes,
        "size_vram": on_gpu,
        "context_length": model.n_ctx,
        "expires_at": _expiry(entry),
    }


def _expiry(entry: ModelEntry) -> str:
    """When the model would be unloaded if it stays idle; "never" is 100 years, as in Ollama."""
    stays = entry.is_pinned or entry.ttl >= _FOREVER.total_seconds()
    left = _FOREVER if stays else timedelta(seconds=max(0.0, entry.ttl - entry.idle_seconds))
    return iso_time(utc_now() + left)


def _details(entry: ModelEntry) -> dict[str, Any]:
    file, header = entry.file, entry.file.header
    family = (header.architecture if header else None) or ""
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": f"{file.parameter_count / 1e9:.1f}B"
        if file.parameter_count >= 1e9
        else f"{file.parameter_count / 1e6:.1f}M",
        "quantization_level": (header.file_type_name if header else None) or "",
    }
