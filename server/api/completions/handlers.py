"""Text completions: POST /v1/completions, and llama-server's /completion."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

from aiohttp import web
from msgspec.structs import replace

from server.answer import Answer
from server.api.answer_documents import logprobs_document
from server.api.begin import begin_generation
from server.api.chunks import AnswerTag
from server.api.completions.documents import (
    CompletionChunks,
    NativeChunks,
    completion_document,
    native_end,
)
from server.api.completions.schema import CompletionBody, NativeCompletionBody
from server.api.served_model import served_model
from server.api.streaming import stream_answer
from server.generation import Generation
from server.job import Job
from server.keys import CALLER, REGISTRY
from server.replies import json_reply, read_body
from server.sse import SseWriter


async def completions(request: web.Request) -> web.StreamResponse:
    """POST /v1/completions: continue a text, or each of several."""
    body = await read_body(request, CompletionBody)
    jobs = body.to_jobs(request[CALLER].name)
    model_id = served_model(request, body.model)
    tag = AnswerTag("cmpl", body.model or model_id)
    with_logprobs = body.logprobs is not None
    if body.stream:
        async with begin_generation(request, model_id, jobs[0]) as generation:
            form = CompletionChunks(
                tag,
                lambda: generation.fingerprint,
                include_usage=body.include_usage,
                with_logprobs=with_logprobs,
            )
            return await stream_answer(request, generation.stream, form, body.sse_ping_interval)
    answers, fingerprint = await _answer_all(request, model_id, jobs)
    document = completion_document(tag, answers, with_logprobs=with_logprobs)
    return json_reply(document | {"system_fingerprint": fingerprint})


async def native_completion(request: web.Request) -> web.StreamResponse:
    """POST /completion: continue a text, answered in llama-server's form."""
    body = await read_body(request, NativeCompletionBody)
    model_id = served_model(request, body.model)
    model = body.model or model_id
    job = body.to_job(request[CALLER].name)
    async with begin_generation(request, model_id, job) as generation:
        if body.stream:
            form = NativeChunks(model)
            return await stream_answer(
                request,
                generation.stream,
                form,
                body.sse_ping_interval,
                open_writer=partial(SseWriter.open, end_mark=False),
            )
        answer = await generation.collect()
    choice = answer.choices[0]
    end = native_end(model, choice.finish_reason, choice.stop_string, answer.usage, answer.timing)
    probabilities = logprobs_document(choice.logprobs)["content"]
    return json_reply(
        replace(
            end,
            content=choice.text,
            tokens=choice.token_ids,
            completion_probabilities=probabilities,
        )
    )


async def _answer_all(
    request: web.Request, model_id: str, jobs: list[Job]
) -> tuple[list[Answer], str]:
    """All answers, and the build that made them; one that fails ends the others."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(begin_generation(request, model_id, jobs[0]))
        rest = [
            await stack.enter_async_context(Generation(request.app[REGISTRY], model_id, job))
            for job in jobs[1:]
        ]
        answers = await asyncio.gather(*(one.collect() for one in (first, *rest)))
        return answers, first.fingerprint
