"""Ollama's /api/tags, /api/ps and /api/version."""

import hashlib
from contextlib import suppress
from datetime import timedelta
from typing import Any

from aiohttp import web

from server.api.ollama.schema import OllamaModels, VersionDocument
from server.api.shared.model_documents import listed_name
from server.catalogue.model_file import ModelFile
from server.errors import ModelNotFoundError
from server.formats import iso_time, utc_now
from server.http.app_keys import REGISTRY, STATUS
from server.http.body.json_body import json_reply
from server.models.entry import ModelEntry

# The version of Ollama whose API this dialect speaks: clients refuse older ones.
API_VERSION = "0.14.2"
_TAG = ":latest"
_FOREVER = timedelta(days=36_500)


async def find_model(request: web.Request, name: str) -> ModelEntry:
    """The model for a name in Ollama's form: without .gguf, and with the tag :latest.

    Raises ModelNotFoundError, also where one file is served: Ollama's clients list the models.
    """
    registry = request.app[REGISTRY]
    plain = name.removesuffix(_TAG)
    for candidate in dict.fromkeys((name, plain, f"{plain}.gguf")):
        with suppress(ModelNotFoundError):
            return await registry.find(candidate)
    error = ModelNotFoundError(name, param="model")
    error.message = f"model {name!r} not found; GET /api/tags lists all models"
    raise error


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


async def version(request: web.Request) -> web.Response:
    """GET /api/version."""
    return json_reply(VersionDocument(API_VERSION, request.app[STATUS].version))


def _model(app: web.Application, entry: ModelEntry) -> dict[str, Any]:
    file = entry.file
    name = listed_name(app, entry)
    return {
        "name": name,
        "model": name,
        "modified_at": iso_time(file.modified),
        "size": file.size,
        "digest": _digest(file),
        "details": details(entry),
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
    left = _FOREVER if stays else timedelta(seconds=max(0.0, entry.ttl - entry.leases.idle_seconds))
    return iso_time(utc_now() + left)


def _digest(file: ModelFile) -> str:
    """64 hexadecimal digits that differ between models, and change when a file does.

    Not those of the content: hashing it takes minutes for a large file.
    """
    stamp = f"{file.id}\0{file.size}\0{file.modified.timestamp()}"
    return hashlib.sha256(stamp.encode()).hexdigest()


def details(entry: ModelEntry) -> dict[str, Any]:
    """Format, family, size and quantisation of a model."""
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
