"""Ollama's /api/chat and /api/generate."""

import time

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
from server.api.ollama.keep_alive import keep_alive
from server.api.ollama.models import find_model
from server.api.ollama.options import ignored_options
from server.api.ollama.schema import AnswerRequest, GenerateBody, OllamaChatBody
from server.api.shared.generate import start_generation
from server.api.shared.model_documents import template_of
from server.api.shared.streaming import stream_answer
from server.catalogue.template_capabilities import renders_thinking
from server.errors import InvalidRequestError
from server.http.access import require_admin
from server.http.app_keys import CALLER, REGISTRY, WARNINGS
from server.http.body.json_body import json_reply, read_body
from server.http.ndjson import NdjsonWriter
from server.models.entry import ModelEntry
from server.protocol.job import Job


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


async def _answer(
    request: web.Request, body: AnswerRequest, job: Job, piece: Piece
) -> web.StreamResponse:
    started = time.monotonic()
    entry = await find_model(request, body.model)
    if body.thinks and not renders_thinking(template_of(entry)):
        text = f"field 'think': {body.model!r} does not support thinking"
        raise InvalidRequestError(text, param="think")
    request[WARNINGS] = await ignored_options(request)

    async def open_writer(request: web.Request) -> NdjsonWriter:
        _check_context(request, entry, body)
        return await NdjsonWriter.open(request)

    with keep_alive(request, entry, body):
        async with start_generation(request, entry.id, job) as generation:
            if body.streams:
                lines = OllamaLines(body.model, piece)
                return await stream_answer(
                    request, generation.stream, lines, open_writer=open_writer
                )
            answer = await generation.collect()
            _check_context(request, entry, body)
    return json_reply(answer_document(body.model, piece, answer, time.monotonic() - started))


def _check_context(request: web.Request, entry: ModelEntry, body: AnswerRequest) -> None:
    """Warn if the model, now loaded, has a smaller context than the request's num_ctx."""
    wanted = (body.options.num_ctx if body.options else None) or 0
    n_ctx = entry.worker.model.n_ctx if entry.is_in_memory else wanted
    if wanted > n_ctx:
        warning = (
            f"options.num_ctx: {wanted} is more than the {n_ctx} tokens of the loaded context; "
            "load the model with a larger one (-c)"
        )
        request[WARNINGS] = (*request[WARNINGS], warning)


async def _load_or_unload(request: web.Request, body: AnswerRequest, piece: Piece) -> web.Response:
    """A request without a prompt: it loads the model, or with keep_alive 0 unloads it."""
    require_admin(request)
    entry = await find_model(request, body.model)
    request[WARNINGS] = await ignored_options(request)
    registry = request.app[REGISTRY]
    unloads = body.keep_seconds == 0
    if not unloads:
        with keep_alive(request, entry, body):
            await registry.load(entry.id)
    elif entry.is_in_memory:
        await registry.unload(entry.id)
    return json_reply(idle_document(body.model, piece, "unload" if unloads else "load"))
