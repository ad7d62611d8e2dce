"""reload_presets: reads the file of --models-preset again."""

import asyncio

from aiohttp import web

from server.cli.presets import read_presets
from server.errors import InvalidRequestError
from server.http.app_keys import CONFIG, PRESETS, REGISTRY


async def reload_presets(app: web.Application) -> None:
    """Use the presets as the file has them now; models whose preset has changed are unloaded.

    Raises InvalidRequestError for a file with a mistake, and keeps the old presets then.
    """
    config = app[CONFIG]
    if config.presets is None:
        return
    try:
        presets = await asyncio.to_thread(read_presets, config)
    except ValueError as error:
        raise InvalidRequestError(str(error), param="reload") from None
    changed = app[PRESETS].replace(presets)
    await app[REGISTRY].forget(changed)
