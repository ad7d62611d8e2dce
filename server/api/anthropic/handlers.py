"""POST /v1/messages and /v1/messages/count_tokens: Anthropic's dialect."""

from functools import partial

from aiohttp import web

from server.api.anthropic.documents import AnthropicEvents, message_document
from server.api.anthropic.jobs import chat_prompt, messages_job
from server.api.anthropic.schema import CountBody, CountDocument, MessagesBody
from server.api.shared.generate import render, start_generation
from server.api.shared.served_model import served_model
from server.api.shared.streaming import stream_answer
from server.http.app_keys import CALLER
from server.http.body.json_body import json_reply, read_body
from server.http.sse import SseWriter
from server.protocol.job import Job


async def messages(request: web.Request) -> web.StreamResponse:
    """POST /v1/messages."""
    body = await read_body(request, MessagesBody)
    job = messages_job(body, request[CALLER].name)
    model_id = served_model(request, body.model)
    model = body.model or model_id
    async with start_generation(request, model_id, job) as generation:
        if body.stream:
            return await stream_answer(
                request,
                generation.stream,
                AnthropicEvents(model),
                body.sse_ping_interval,
                open_writer=partial(SseWriter.open, named=True, end_mark=False),
            )
        answer = await generation.collect()
    return json_reply(message_document(model, answer))


async def count_tokens(request: web.Request) -> web.Response:
    """POST /v1/messages/count_tokens: counts the prompt's tokens without generating."""
    body = await read_body(request, CountBody)
    rendered = await render(
        request, served_model(request, body.model), Job(prompt=chat_prompt(body))
    )
    return json_reply(CountDocument(rendered.n_tokens))
