"""serve: the server's life from listening to leaving in an orderly way."""

import asyncio
import logging
import os
import signal

from aiohttp import web

from server.app import create_app
from server.config import ServerConfig
from server.http.app_keys import REGISTRY, STATUS
from server.http.connections import ConnectionRunner
from server.listening import is_loopback_only
from server.sockets import open_sites, remove_sockets

logger = logging.getLogger("server")
# What handlers may take to write their last words, once the registry has drained the models.
_HANDLER_SECONDS = 2.0


async def serve(config: ServerConfig) -> None:
    """Serve until SIGTERM or SIGINT; running answers finish within the limit, a second signal
    cuts them. Raises ListenError.
    """
    app = create_app(config)
    runner = ConnectionRunner(app, config, _HANDLER_SECONDS)
    told = _expect_signals(config)
    await runner.setup()
    try:
        _announce(await open_sites(runner, config), config)
        await told.wait()
        await _drain(app, config)
    finally:
        await runner.cleanup()
        remove_sockets(config)


async def _drain(app: web.Application, config: ServerConfig) -> None:
    """Still listening, so that new requests and probes are told, until the models are gone."""
    logger.info(
        "leaving: running answers get up to %g s; a second signal cuts them", config.drain_seconds
    )
    app[STATUS].is_leaving = True
    await app[REGISTRY].close()


def _announce(urls: list[str], config: ServerConfig) -> None:
    places = ", ".join(f"{url}{config.api_prefix}" for url in urls)
    print(f"llamabind serves {places} - models: /api/v2/models", flush=True)
    if not config.api_keys and not is_loopback_only(config):
        logger.warning("no key is set: whoever reaches this server can use it")


def _expect_signals(config: ServerConfig) -> asyncio.Event:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def tell(number: signal.Signals) -> None:
        if not told.is_set():
            told.set()
            return
        logger.warning("second %s: leaving at once", number.name)
        remove_sockets(config)
        # Workers see their socket close and leave; nothing that hangs can hold this up.
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, tell, number)
    return told
