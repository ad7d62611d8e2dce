"""/api/v2/chat: whole and streamed answers."""

from typing import Any

from aiohttp import web

from server.api.shared.answer_documents import choice_document
from server.api.shared.chunks import AnswerTag, V2Chunks
from server.api.shared.generate import start_generation
from server.api.shared.streaming import stream_answer
from server.api.shared.whole_reply import whole_reply
from server.api.v2.schema import ChatBody, Usage
from server.http.app_keys import CALLER
from server.http.body.json_body import read_body


async def chat(request: web.Request) -> web.StreamResponse:
    """POST /api/v2/chat/{model_id}; with `stream` the same as .../stream."""
    body = await read_body(request, ChatBody)
    return await (_stream(request, body) if body.stream else _answer(request, body))


async def chat_stream(request: web.Request) -> web.StreamResponse:
    """POST /api/v2/chat/{model_id}/stream."""
    return await _stream(request, await read_body(request, ChatBody))


async def _answer(request: web.Request, body: ChatBody) -> web.Response:
    model_id = request.match_info["model_id"]
    job = body.to_job(request[CALLER].name)
    async with start_generation(request, model_id, job) as generation:
        answer = await generation.collect()

    def document() -> dict[str, Any]:
        choices = [
            choice_document(
                choice,
                content_may_be_null=False,
                with_logprobs=job.logprobs is not None,
                forms=job.tool_forms,
            )
            for choice in answer.choices
        ]
        tag = AnswerTag("chat", model_id)
        made = tag.document("chat.completion", choices, usage=Usage.of(answer.usage))
        if generation.warnings:
            made["warnings"] = generation.warnings
        return made

    return await whole_reply([answer], document)


async def _stream(request: web.Request, body: ChatBody) -> web.StreamResponse:
    model_id = request.match_info["model_id"]
    job = body.to_job(request[CALLER].name)
    generation = start_generation(request, model_id, job)
    form = V2Chunks(
        AnswerTag("chat", model_id),
        lambda: generation.warnings,
        include_usage=body.include_usage,
        with_logprobs=job.logprobs is not None,
        forms=job.tool_forms,
    )
    async with generation:
        return await stream_answer(request, generation.stream, form, body.sse_ping_interval)
