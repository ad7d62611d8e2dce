"""What handlers of all dialects have a model do with a job."""

from aiohttp import web

from server.generation import Generation
from server.inquiry import ask
from server.job import Job
from server.keys import GENERATION, MEDIA, REGISTRY
from server.tasks import Render, Rendered


def begin_generation(request: web.Request, model_id: str, job: Job) -> Generation:
    """The generation of this request, which its log line tells of; `async with` it."""
    generation = Generation(request.app[REGISTRY], model_id, job, request.app[MEDIA])
    request[GENERATION] = generation
    return generation


async def render(request: web.Request, model_id: str, job: Job) -> Rendered:
    """The prompt that the job's conversation becomes; nothing is generated. Raises ApiError."""
    job = await request.app[MEDIA].complete(job)
    result = await ask(request.app[REGISTRY], model_id, Render(job))
    assert isinstance(result, Rendered)
    return result
