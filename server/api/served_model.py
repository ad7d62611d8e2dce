"""served_model: which model a request of a dialect means."""

from aiohttp import web

from server.errors import InvalidRequestError
from server.keys import CONFIG


def served_model(request: web.Request, asked: str | None) -> str:
    """The model to use. A server of one file answers to any name and to none, as llama-server."""
    only = request.app[CONFIG].model_file
    if only is not None:
        return only.name
    if asked is None:
        raise InvalidRequestError("field 'model' is required", param="model")
    return asked
