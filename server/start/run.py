"""run: read the command line, set up the log, serve."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path

from llamabind.errors import is_out_of_memory
from llamabind.system.quick_imports import quick_imports
from server.catalogue.header_store import HeaderStore
from server.cli.parser import parse_command_line
from server.config import ServerConfig
from server.descriptors import fit_connections
from server.errors import ApiError
from server.listening.addresses import ListenError
from server.listening.listeners import Listeners, open_listeners
from server.logs import start_logging, stop_logging
from server.monitoring.rpc_check import check_rpc_servers
from server.parts.models import ModelParts, make_parts
from server.supervisor.early_worker import EarlyWorker
from server.supervisor.estimate_store import EstimateStore, estimate_file, installed_build


def run(arguments: Sequence[str], program: str, early: EarlyWorker | None = None) -> int:
    """Run the server; return the exit status, see server.__main__. `early` loads the first model.

    Raises KeyboardInterrupt before the server handles signals, and errors of `is_out_of_memory`.
    """
    config = parse_command_line(arguments, program=program)
    try:
        if config.cpus:
            # Workers inherit the CPUs, and count only these for their threads.
            if early is not None:
                early.end()
            os.sched_setaffinity(0, config.cpus)
        start_logging(config)
        check_rpc_servers(config)
        if config.hub_repo is not None:
            # Here, since most servers download no model.
            from server.start.hub_model import with_hub_model

            # An address in use is reported before the download; clients are refused during it.
            open_listeners(config).close()
            config = asyncio.run(with_hub_model(config))
        # Before the load begins, which would otherwise be reported as failed by an address in use.
        with closing(open_listeners(config)) as listeners:
            asyncio.run(_run(config, early, listeners))
    except (ListenError, OSError, ApiError) as error:
        if is_out_of_memory(error):
            raise
        print(error, file=sys.stderr)
        return 1
    finally:
        stop_logging()
    return 0


async def _run(config: ServerConfig, early: EarlyWorker | None, listeners: Listeners) -> None:
    """Start the load of --model, import the other modules during the load, and serve."""
    config = fit_connections(config)
    build = installed_build(os.environ)
    remembered = estimate_file(os.environ)
    parts = make_parts(
        config,
        estimates=EstimateStore(remembered, build),
        headers=HeaderStore(remembered and Path(f"{remembered}.headers")),
    )
    parts.pool.prepare(early)
    parts.begin_first_load()
    # On a thread, so that the event loop can handle the messages of the worker meanwhile.
    serve = await asyncio.to_thread(_import_http)
    await serve(config, parts, listeners)


def _import_http() -> Callable[[ServerConfig, ModelParts, Listeners], Awaitable[None]]:
    with quick_imports():
        import server.quick_aiohttp  # noqa: F401 - before all modules that import aiohttp
        from server.serving import serve

    return serve
