"""serve: runs the server from listening to an orderly shutdown."""

import asyncio
import logging
import os
import signal

from aiohttp import web

from server.app import create_app
from server.config import ServerConfig
from server.http.app_keys import DOWNLOADS, REGISTRY, STATUS
from server.http.connections import ConnectionRunner
from server.listening.addresses import is_loopback_only
from server.listening.listeners import Listeners
from server.listening.sites import start_sites
from server.logs import stop_logging
from server.parts.models import ModelParts

logger = logging.getLogger("server")
# Time that handlers get to write the end of their answers after the models are drained.
_HANDLER_SECONDS = 2.0


async def serve(config: ServerConfig, parts: ModelParts, listeners: Listeners) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; then running answers get --drain-seconds to finish,
    and a second signal ends the process at once. The caller closes `listeners`.
    """
    app = create_app(config, parts)
    runner = ConnectionRunner(app, config, _HANDLER_SECONDS)
    stopping = _handle_signals(listeners)
    await runner.setup()
    try:
        _announce(await start_sites(runner, listeners, config.max_connections), config)
        await stopping.wait()
        await _drain(app, config)
    finally:
        await runner.cleanup()


async def _drain(app: web.Application, config: ServerConfig) -> None:
    """Unload all models; keeps listening meanwhile, so that requests and probes get a 503."""
    logger.info(
        "shutting down: running answers get up to %g s; a second signal ends them at once",
        config.drain_seconds,
    )
    app[STATUS].is_shutting_down = True
    # Their parts stay; the next start continues them.
    await app[DOWNLOADS].close()
    await app[REGISTRY].close()


def _announce(urls: list[str], config: ServerConfig) -> None:
    addresses = ", ".join(f"{url}{config.api_prefix}" for url in urls)
    # A browser cannot open a Unix socket.
    is_for_browsers = config.ui and any(url.startswith("http") for url in urls)
    what = "open it in a browser" if is_for_browsers else "models: /api/v2/models"
    print(f"llamabind serves {addresses} - {what}", flush=True)
    if not config.api_keys and not is_loopback_only(config):
        logger.warning("no API key is set: every client that reaches this server can use it")


def _handle_signals(listeners: Listeners) -> asyncio.Event:
    """The event that the first signal sets; a second signal ends the process."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def stop(number: signal.Signals) -> None:
        if not stopping.is_set():
            stopping.set()
            return
        logger.warning("second %s: exiting at once", number.name)
        listeners.remove_files()
        stop_logging()
        # Skips all cleanup, which could hang; workers exit when their socket closes.
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup has SIGHUP ignored: the server then outlives its terminal.
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue
        loop.add_signal_handler(number, stop, number)
    return stopping
