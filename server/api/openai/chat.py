"""/v1: the OpenAI dialect."""

import asyncio
from typing import Annotated, Any

from aiohttp import web
from msgspec import Meta
from msgspec.structs import replace

from server.api.schema.chat import ChatFields
from server.api.schema.replies.answers import InputTokens
from server.api.shared.answer_documents import choice_document, timings_document, usage_document
from server.api.shared.chunks import AnswerTag, OpenAIChunks
from server.api.shared.generate import render, start_generation
from server.api.shared.modalities import modalities
from server.api.shared.model_documents import model_document, native_entry
from server.api.shared.native_answer import VERBOSE, is_verbose, native_answer
from server.api.shared.reload import reload_presets
from server.api.shared.served_model import served_model
from server.api.shared.streaming import stream_answer
from server.api.shared.whole_reply import whole_reply
from server.http.access import require_admin
from server.http.app_keys import CALLER, REGISTRY
from server.http.body.json_body import json_reply, read_body


class ChatCompletionBody(ChatFields, frozen=True, kw_only=True):
    """The body of POST /v1/chat/completions."""

    model: Annotated[str, Meta(min_length=1)] | None = None
    stream: bool | None = None


async def list_models(request: web.Request) -> web.Response:
    """GET /v1/models and /models: every model on disk; reads the folders each time.

    As in llama-server's router, ?reload reads the file of --models-preset again.
    """
    if request.query.get("reload"):
        require_admin(request)
        await reload_presets(request.app)
    entries = await request.app[REGISTRY].list()
    kinds = await asyncio.gather(*(modalities(request.app, entry) for entry in entries))
    data = [
        model_document(request.app, entry, read) for entry, read in zip(entries, kinds, strict=True)
    ]
    models = [native_entry(document) for document in data]
    return json_reply({"object": "list", "data": data, "models": models})


async def show_model(request: web.Request) -> web.Response:
    """GET /v1/models/{model_id}."""
    entry = await request.app[REGISTRY].find(request.match_info["model_id"])
    document = model_document(request.app, entry, await modalities(request.app, entry))
    return json_reply(document)


async def count_tokens(request: web.Request) -> web.Response:
    """POST /v1/chat/completions/input_tokens: counts the prompt's tokens without generating."""
    body = await read_body(request, ChatCompletionBody)
    rendered = await render(request, served_model(request, body.model), body.to_job())
    return json_reply(InputTokens(input_tokens=rendered.n_tokens))


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """POST /v1/chat/completions."""
    body = await read_body(request, ChatCompletionBody)
    verbose = is_verbose(request, body.verbose)
    job = replace(body.to_job(request[CALLER].name), return_prompt=verbose)
    model_id = served_model(request, body.model)
    tag = AnswerTag("chatcmpl", body.model or model_id)
    with_logprobs = job.logprobs is not None
    async with start_generation(request, model_id, job) as generation:
        if body.stream:
            form = OpenAIChunks(
                tag,
                lambda: generation.fingerprint,
                include_usage=body.include_usage,
                with_logprobs=with_logprobs,
                forms=job.tool_forms,
                verbose_job=job if verbose else None,
            )
            return await stream_answer(request, generation.stream, form, body.sse_ping_interval)
        answer = await generation.collect()

    def document() -> dict[str, Any]:
        choices = [
            choice_document(
                choice, content_may_be_null=True, with_logprobs=with_logprobs, forms=job.tool_forms
            )
            for choice in answer.choices
        ]
        made = tag.document(
            "chat.completion",
            choices,
            usage=usage_document(answer.usage),
            timings=timings_document(answer.usage, answer.timings),
            system_fingerprint=generation.fingerprint,
        )
        if verbose:
            made[VERBOSE] = native_answer(tag.model, job, answer, answer.choices[0], 0)
        return made

    return await whole_reply([answer], document)
