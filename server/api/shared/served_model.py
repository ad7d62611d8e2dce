"""served_model: which model a request of a dialect means."""

from aiohttp import web

from server.errors import InvalidRequestError
from server.http.app_keys import CONFIG


def served_model(request: web.Request, asked: str | None) -> str:
    """The model to use. A server of one file answers to any name and to none, as llama-server; to
    none with its first alias, if it has one.
    """
    config = request.app[CONFIG]
    if config.model_file is not None:
        is_anonymous = asked is None and config.aliases
        return config.aliases[0] if is_anonymous else config.model_file.name
    if asked is None:
        raise InvalidRequestError("field 'model' is required", param="model")
    return asked
