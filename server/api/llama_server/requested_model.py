"""requested_entry: the model that ?model= names, for llama-server's GET routes."""

from aiohttp import web

from server.api.shared.served_model import served_model
from server.errors import StateConflictError
from server.http.app_keys import REGISTRY
from server.models.entry import ModelEntry


async def requested_entry(request: web.Request) -> ModelEntry:
    """The model named by ?model=. Raises InvalidRequestError, ModelNotFoundError."""
    name = served_model(request, request.query.get("model"))
    return await request.app[REGISTRY].find(name)


async def loaded_entry(request: web.Request) -> ModelEntry:
    """The model named by ?model=. Raises StateConflictError if it is not in memory: callers must
    not load models.
    """
    entry = await requested_entry(request)
    if not entry.is_in_memory:
        raise StateConflictError(
            f"model {entry.id!r} is not loaded (state: {entry.state}); load it first",
            code="model_not_loaded",
        )
    return entry
