"""`python -m server`: parse, listen, and leave in an orderly way."""

import asyncio
import logging
import signal
import sys

from aiohttp import web

from server.app import create_app
from server.config import ServerConfig

logger = logging.getLogger("server")
# What handlers may take to write their last words, once the registry has drained the models.
_HANDLER_SECONDS = 2.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


async def serve(config: ServerConfig) -> None:
    """Serve until SIGTERM or SIGINT; running answers finish within the limit. Raises OSError."""
    # Without handler_cancellation a client that leaves is noticed only at the next write.
    runner = web.AppRunner(
        create_app(config), handler_cancellation=True, shutdown_timeout=_HANDLER_SECONDS
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, config.host, config.port).start()
        _announce(runner, config)
        await _wait_for_signal()
        logger.info("leaving: running answers get up to %g s", config.drain_seconds)
    finally:
        await runner.cleanup()


def main() -> int:
    """Run the server; returns the exit status."""
    config = ServerConfig.from_arguments()
    logging.basicConfig(
        level=config.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        asyncio.run(serve(config))
    except OSError as error:
        print(f"cannot listen on {config.host}:{config.port}: {error}", file=sys.stderr)
        return 1
    return 0


def _announce(runner: web.AppRunner, config: ServerConfig) -> None:
    port = runner.addresses[0][1]
    host = f"[{config.host}]" if ":" in config.host else config.host
    print(f"llamabind serves http://{host}:{port} - models: /api/v2/models", flush=True)
    if config.host not in _LOOPBACK:
        logger.warning("%s is not loopback: whoever reaches it can use this server", config.host)


async def _wait_for_signal() -> None:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    await told.wait()


if __name__ == "__main__":
    sys.exit(main())
