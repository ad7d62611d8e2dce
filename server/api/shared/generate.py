"""start_generation and render: what handlers of all dialects do with a job."""

import dataclasses

from aiohttp import web
from msgspec.structs import replace

from llamabind import SamplingParams
from server.config import ServerConfig
from server.http.app_keys import CONFIG, GENERATION, MEDIA, REGISTRY, WARNINGS
from server.protocol.job import ChatPrompt, Job
from server.protocol.sampling_defaults import with_sampling
from server.protocol.tasks import Render, Rendered
from server.requests.dispatch import ask
from server.requests.generation import Generation


def start_generation(request: web.Request, model_id: str, job: Job) -> Generation:
    """The generation of this request, for `async with`; the access log reads its counts."""
    job = with_defaults(job, request.app[CONFIG])
    generation = Generation(request.app[REGISTRY], model_id, job, request.app[MEDIA])
    request[GENERATION] = generation
    return generation


async def with_model_defaults(request: web.Request, model_id: str, job: Job) -> Job:
    """The job as it will be sampled, for documents that repeat its settings. Raises ApiError."""
    entry = await request.app[REGISTRY].find(model_id)
    return with_sampling(job, entry.settings.sampling)


async def render(request: web.Request, model_id: str, job: Job) -> Rendered:
    """The job's conversation as a prompt, without generating an answer. Raises ApiError."""
    job = with_defaults(job, request.app[CONFIG])
    result = await ask(request.app[REGISTRY], model_id, Render(job), request.app[MEDIA])
    assert isinstance(result, Rendered)
    request[WARNINGS] = result.warnings
    return result


def with_defaults(job: Job, config: ServerConfig) -> Job:
    """The job with the server's defaults for the fields that its request does not set."""
    if config.n_keep and not job.n_keep:
        job = replace(job, n_keep=config.n_keep)
    prompt = job.prompt
    if not isinstance(prompt, ChatPrompt):
        return job
    thinks = prompt.enable_thinking
    variables = {**config.chat_template_kwargs, **(prompt.chat_template_kwargs or {})}
    prompt = replace(
        prompt,
        reasoning_format=prompt.reasoning_format or config.reasoning_format,
        enable_thinking=config.enable_thinking if thinks is None else thinks,
        reasoning_effort=prompt.reasoning_effort or config.reasoning_effort,
        chat_template_kwargs=variables or None,
    )
    return replace(job, prompt=prompt, sampling=_with_budget(job.sampling, config))


def _with_budget(sampling: SamplingParams, config: ServerConfig) -> SamplingParams:
    """The sampling with the server's reasoning budget if its own is -1, as in llama-server."""
    tokens, message = sampling.reasoning_budget_tokens, sampling.reasoning_budget_message
    if tokens == -1:
        tokens = config.reasoning_budget
    message = message or config.reasoning_budget_message
    if (tokens, message) == (sampling.reasoning_budget_tokens, sampling.reasoning_budget_message):
        return sampling  # a copy is checked again, which takes a while
    return dataclasses.replace(
        sampling, reasoning_budget_tokens=tokens, reasoning_budget_message=message
    )
