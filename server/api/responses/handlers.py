"""POST /v1/responses and /v1/responses/input_tokens: OpenAI's Responses API."""

from functools import partial

from aiohttp import web

from server.api.responses.documents import ResponseEvents
from server.api.responses.jobs import chat_prompt, responses_job
from server.api.responses.schema import InputTokensBody, ResponsesBody
from server.api.schema.replies.answers import InputTokens
from server.api.shared.generate import render, start_generation, with_model_defaults
from server.api.shared.served_model import served_model
from server.api.shared.streaming import stream_answer
from server.http.app_keys import CALLER
from server.http.body.json_body import json_reply, read_body
from server.http.sse import SseWriter
from server.protocol.job import Job


async def create(request: web.Request) -> web.StreamResponse:
    """POST /v1/responses. Without `stream` the answer is the response of the last event."""
    body = await read_body(request, ResponsesBody)
    job = responses_job(body, request[CALLER].name)
    model_id = served_model(request, body.model)
    job = await with_model_defaults(request, model_id, job)
    form = ResponseEvents(body.model or model_id, body, job)
    async with start_generation(request, model_id, job) as generation:
        if body.stream:
            return await stream_answer(
                request,
                generation.stream,
                form,
                body.sse_ping_interval,
                open_writer=partial(SseWriter.open, named=True, end_mark=False),
                failure=form.failure,
            )
        async for output in generation.stream:
            form.chunks(output)
        form.ending(generation.stream.usage)
    return json_reply(form.response)


async def count_tokens(request: web.Request) -> web.Response:
    """POST /v1/responses/input_tokens: counts the prompt's tokens without generating."""
    body = await read_body(request, InputTokensBody)
    rendered = await render(
        request, served_model(request, body.model), Job(prompt=chat_prompt(body))
    )
    return json_reply(InputTokens(input_tokens=rendered.n_tokens))
