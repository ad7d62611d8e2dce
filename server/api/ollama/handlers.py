"""Ollama's /api/chat, /api/generate and /api/embed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from server.api.ollama.documents import (
    OllamaLines,
    Piece,
    answer_document,
    chat_piece,
    generate_piece,
    idle_document,
)
from server.api.ollama.jobs import chat_job, generate_job
from server.api.ollama.models import find_model
from server.api.ollama.schema import (
    AnswerRequest,
    EmbedBody,
    GenerateBody,
    ModelRequest,
    OllamaChatBody,
    OllamaVectors,
)
from server.api.shared.generate import start_generation
from server.api.shared.model_documents import template_of
from server.api.shared.streaming import stream_answer
from server.api.shared.vectors import read_vectors
from server.catalogue.template_capabilities import renders_thinking
from server.errors import InvalidRequestError
from server.http.access import is_admin, require_admin
from server.http.app_keys import CALLER, REGISTRY
from server.http.json_body import json_reply, read_body
from server.http.ndjson import NdjsonWriter
from server.models.entry import ModelEntry
from server.protocol.job import Job
from server.protocol.tasks import Embed, Vectors
from server.requests.dispatch import ask


async def chat(request: web.Request) -> web.StreamResponse:
    """POST /api/chat."""
    body = await read_body(request, OllamaChatBody)
    if not body.messages:
        return await _load_or_unload(request, body, chat_piece)
    return await _answer(request, body, chat_job(body, request[CALLER].name), chat_piece)


async def generate(request: web.Request) -> web.StreamResponse:
    """POST /api/generate."""
    body = await read_body(request, GenerateBody)
    if not body.prompt:
        return await _load_or_unload(request, body, generate_piece)
    return await _answer(request, body, generate_job(body, request[CALLER].name), generate_piece)


async def embed(request: web.Request) -> web.Response:
    """POST /api/embed."""
    started = time.monotonic()
    body = await read_body(request, EmbedBody)
    inputs = (body.input,) if isinstance(body.input, str) else tuple(body.input)
    if not inputs:
        raise InvalidRequestError("field 'input' must not be empty", param="input")
    entry = await find_model(request, body.model)
    with _keeping(request, entry, body):
        result = await ask(request.app[REGISTRY], entry.id, Embed(inputs=inputs))
    assert isinstance(result, Vectors)
    vectors = read_vectors(result, body.dimensions)
    return json_reply(
        OllamaVectors(
            model=body.model,
            embeddings=[vector.tolist() for vector in vectors],
            total_duration=int((time.monotonic() - started) * 1e9),
            prompt_eval_count=sum(result.n_tokens),
        )
    )


async def _answer(
    request: web.Request, body: AnswerRequest, job: Job, piece: Piece
) -> web.StreamResponse:
    started = time.monotonic()
    entry = await find_model(request, body.model)
    if body.think and not renders_thinking(template_of(entry)):
        text = f"field 'think': {body.model!r} does not support thinking"
        raise InvalidRequestError(text, param="think")
    with _keeping(request, entry, body):
        async with start_generation(request, entry.id, job) as generation:
            if body.streams:
                lines = OllamaLines(body.model, piece)
                return await stream_answer(
                    request, generation.stream, lines, open_writer=NdjsonWriter.open
                )
            answer = await generation.collect()
    return json_reply(answer_document(body.model, piece, answer, time.monotonic() - started))


async def _load_or_unload(request: web.Request, body: AnswerRequest, piece: Piece) -> web.Response:
    """A request without a prompt: it loads the model, or with keep_alive 0 unloads it."""
    require_admin(request)
    entry = await find_model(request, body.model)
    registry = request.app[REGISTRY]
    unloads = body.keep_seconds == 0
    if not unloads:
        with _keeping(request, entry, body):
            await registry.load(entry.id)
    elif entry.is_in_memory:
        await registry.unload(entry.id)
    return json_reply(idle_document(body.model, piece, "unload" if unloads else "load"))


@contextmanager
def _keeping(request: web.Request, entry: ModelEntry, body: ModelRequest) -> Iterator[None]:
    """When the request ends, apply its keep_alive to the model, whatever its outcome.

    Clients send keep_alive with every request, so without admin rights it is ignored, not refused.
    """
    try:
        yield
    finally:
        seconds = body.keep_seconds
        if seconds is not None and entry.is_in_memory and is_admin(request):
            entry.override_ttl(seconds)
