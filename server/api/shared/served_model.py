"""served_model: the model that a request addresses."""

from aiohttp import web

from server.errors import InvalidRequestError
from server.http.app_keys import CONFIG


def served_model(request: web.Request, name: str | None) -> str:
    """The id or alias of the model that `name` means. Raises InvalidRequestError if it is missing.

    With --model every name means that model, as in llama-server. So does a missing name; the result
    is then its first alias, if it has one.
    """
    config = request.app[CONFIG]
    if config.model_file is not None:
        use_alias = name is None and config.aliases
        return config.aliases[0] if use_alias else config.model_file.name
    if name is None:
        raise InvalidRequestError("field 'model' is required", param="model")
    return name
