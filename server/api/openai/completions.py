"""OpenAI's text completions: POST /v1/completions."""

from typing import Any

from aiohttp import web
from msgspec.structs import replace

from server.api.openai.completion_documents import CompletionChunks, completion_document
from server.api.openai.completion_schema import CompletionBody
from server.api.shared.chunks import AnswerTag
from server.api.shared.native_answer import VERBOSE, is_verbose, native_answer
from server.api.shared.prompt_group import PromptGroup
from server.api.shared.served_model import served_model
from server.api.shared.streaming import stream_answer
from server.api.shared.whole_reply import whole_reply
from server.http.app_keys import CALLER
from server.http.body.json_body import read_body


async def completions(request: web.Request) -> web.StreamResponse:
    """POST /v1/completions: continues one text or several."""
    body = await read_body(request, CompletionBody)
    verbose = is_verbose(request, body.verbose)
    jobs = [replace(job, return_prompt=verbose) for job in body.to_jobs(request[CALLER].name)]
    model_id = served_model(request, body.model)
    tag = AnswerTag("cmpl", body.model or model_id)
    async with PromptGroup(request, model_id, jobs) as group:
        if body.stream:
            form = CompletionChunks(tag, lambda: group.fingerprint, body, jobs if verbose else ())
            return await stream_answer(request, group.stream, form, body.sse_ping_interval)
        answers = await group.collect()

    def document() -> dict[str, Any]:
        made: dict[str, Any] = completion_document(tag, answers, body)
        if verbose:
            made[VERBOSE] = native_answer(tag.model, jobs[0], answers[0], answers[0].choices[0], 0)
        return made | {"system_fingerprint": group.fingerprint}

    return await whole_reply(answers, document)
