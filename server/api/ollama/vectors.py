"""Ollama's /api/embed and its older form, /api/embeddings."""

import time

from aiohttp import web

from server.api.ollama.keep_alive import keep_alive
from server.api.ollama.models import find_model
from server.api.ollama.options import ignored_options
from server.api.ollama.schema import EmbedBody, OllamaEmbeddingsBody, OllamaVector, OllamaVectors
from server.api.shared.vectors import RAW, read_vectors
from server.formats import utc_now
from server.http.access import require_admin
from server.http.app_keys import REGISTRY, WARNINGS
from server.http.body.json_body import json_reply, read_body
from server.models.entry import ModelEntry
from server.protocol.tasks import Embed, Vectors
from server.requests.dispatch import ask


async def embed(request: web.Request) -> web.Response:
    """POST /api/embed."""
    started, arrived = time.monotonic(), utc_now()
    body = await read_body(request, EmbedBody)
    request[WARNINGS] = await ignored_options(request, frozenset())
    # As in Ollama, an empty text is no input.
    inputs = (
        (body.input,) if isinstance(body.input, str) and body.input else tuple(body.input or ())
    )
    entry = await find_model(request, body.model)
    result = Vectors(vectors=(), n_tokens=())
    with keep_alive(request, entry, body):
        if inputs:
            task = Embed(inputs=inputs, truncate=body.truncate is not False)
            result = await _vectors(request, entry, task)
        else:
            await _load(request, entry)
    # As in Ollama, 0 and more than the model has mean all.
    n_dimensions = len(result.vectors[0]) // 4 if result.vectors else 0
    is_less = 0 < (body.dimensions or 0) < n_dimensions
    vectors = read_vectors(result, body.dimensions if is_less else None)
    loaded = entry.loaded_at or arrived
    return json_reply(
        OllamaVectors(
            model=body.model,
            embeddings=[vector.tolist() for vector in vectors],
            total_duration=int((time.monotonic() - started) * 1e9),
            load_duration=max(0, int((loaded - arrived).total_seconds() * 1e9)),
            prompt_eval_count=sum(result.n_tokens),
        )
    )


async def embeddings(request: web.Request) -> web.Response:
    """POST /api/embeddings: one vector, as the model computes it, not scaled to length 1."""
    body = await read_body(request, OllamaEmbeddingsBody)
    request[WARNINGS] = await ignored_options(request, frozenset())
    entry = await find_model(request, body.model)
    vector: list[float] = []
    with keep_alive(request, entry, body):
        if body.prompt:
            task = Embed(inputs=(body.prompt,), normalize=False, truncate=True)
            result = await _vectors(request, entry, task)
            vector = read_vectors(result, norm=RAW)[0].tolist()
        else:
            await _load(request, entry)
    return json_reply(OllamaVector(vector))


async def _vectors(request: web.Request, entry: ModelEntry, task: Embed) -> Vectors:
    result = await ask(request.app[REGISTRY], entry.id, task)
    assert isinstance(result, Vectors)
    return result


async def _load(request: web.Request, entry: ModelEntry) -> None:
    """Load the model of a request without an input."""
    require_admin(request)
    await request.app[REGISTRY].load(entry.id)
