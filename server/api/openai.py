"""/v1: the OpenAI dialect."""

from aiohttp import web

from server.api.chunks import AnswerTag, OpenAIChunks
from server.api.schema_openai import (
    CompletionBody,
    model_document,
    timings_document,
    usage_document,
)
from server.api.streaming import stream_answer
from server.generation import Generation
from server.keys import REGISTRY
from server.replies import json_reply, read_body


async def list_models(request: web.Request) -> web.Response:
    """GET /v1/models."""
    entries = await request.app[REGISTRY].list()
    return json_reply({"object": "list", "data": [model_document(entry) for entry in entries]})


async def show_model(request: web.Request) -> web.Response:
    """GET /v1/models/{model_id}."""
    entry = await request.app[REGISTRY].find(request.match_info["model_id"])
    return json_reply(model_document(entry))


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """POST /v1/chat/completions."""
    body = await read_body(request, CompletionBody)
    tag = AnswerTag("chatcmpl", body.model)
    async with Generation(request.app[REGISTRY], body.model, body.to_job()) as generation:
        if body.stream:
            form = OpenAIChunks(
                tag, lambda: generation.fingerprint, include_usage=body.include_usage
            )
            return await stream_answer(request, generation.stream, form)
        answer = await generation.collect()
    message = {"role": "assistant", "content": answer.text}
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
    return json_reply(
        tag.document(
            "chat.completion",
            [choice],
            usage=usage_document(answer.usage),
            timings=timings_document(answer),
            system_fingerprint=generation.fingerprint,
        )
    )
