"""llama-server's /completion and /infill."""

from functools import partial
from typing import Any

from aiohttp import web

from server.api.llama_server.completion_documents import NativeAnswers, NativeChunks, chosen
from server.api.llama_server.schema_completion import InfillBody, NativeCompletionBody
from server.api.shared.generate import with_model_defaults
from server.api.shared.prompt_group import PromptGroup
from server.api.shared.served_model import served_model
from server.api.shared.streaming import stream_answer
from server.api.shared.whole_reply import whole_reply
from server.http.app_keys import CALLER
from server.http.body.json_body import read_body
from server.http.sse import SseWriter


async def completion(request: web.Request) -> web.StreamResponse:
    """POST /completion and /completions: continue a text, or each of several."""
    return await _answer(request, await read_body(request, NativeCompletionBody))


async def infill(request: web.Request) -> web.StreamResponse:
    """POST /infill: fill a gap in a text."""
    return await _answer(request, await read_body(request, InfillBody))


async def _answer(
    request: web.Request, body: NativeCompletionBody | InfillBody
) -> web.StreamResponse:
    jobs = body.to_jobs(request[CALLER].name)
    model_id = served_model(request, body.model)
    jobs = [await with_model_defaults(request, model_id, job) for job in jobs]
    model = body.model or model_id
    answers = NativeAnswers(model, jobs, stream=bool(body.stream))
    fields = body.response_fields or ()
    async with PromptGroup(request, model_id, jobs) as group:
        if body.stream:
            return await stream_answer(
                request,
                group.stream,
                NativeChunks(model, answers, fields),
                body.sse_ping_interval,
                open_writer=partial(SseWriter.open, end_mark=False),
            )
        collected = await group.collect()

    def document() -> Any:
        documents = [
            chosen(document, fields)
            for prompt_index, answer in enumerate(collected)
            for document in answers.whole(prompt_index, answer)
        ]
        # As in llama-server, a single answer is not wrapped in a list.
        return documents[0] if len(documents) == 1 else documents

    return await whole_reply(collected, document)
