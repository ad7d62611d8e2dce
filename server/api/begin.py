"""How every handler begins a generation: so that the request's log line can tell of it."""

from aiohttp import web

from server.generation import Generation
from server.job import Job
from server.keys import GENERATION, REGISTRY


def begin_generation(request: web.Request, model_id: str, job: Job) -> Generation:
    """The generation of this request; `async with` it."""
    generation = Generation(request.app[REGISTRY], model_id, job)
    request[GENERATION] = generation
    return generation
