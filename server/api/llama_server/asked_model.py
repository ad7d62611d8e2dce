"""asked_entry: the model that a GET of llama-server's is about, by ?model=."""

from aiohttp import web

from server.api.shared.served_model import served_model
from server.errors import StateConflictError
from server.http.app_keys import REGISTRY
from server.models.entry import ModelEntry


async def asked_entry(request: web.Request) -> ModelEntry:
    """The model of the query string. Raises InvalidRequestError, ModelNotFoundError."""
    name = served_model(request, request.query.get("model"))
    return await request.app[REGISTRY].find(name)


async def loaded_entry(request: web.Request) -> ModelEntry:
    """The same, loaded already: to look at a model is no reason to load it. Raises ApiError."""
    entry = await asked_entry(request)
    if not entry.is_in_memory:
        raise StateConflictError(
            f"model {entry.id!r} is not loaded, it is {entry.state}", code="model_not_loaded"
        )
    return entry
