"""create_app: wires the parts together, and nothing else."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from server.api.routes import routes
from server.catalogue import Catalogue
from server.config import ServerConfig
from server.keys import CONFIG, REGISTRY, STATUS, SYSTEM
from server.middleware import answer_errors, identify, send_request_id
from server.registry import ModelRegistry
from server.status import ServerStatus
from server.system_metrics import SystemMetrics
from server.worker_client import WorkerLauncher
from server.worker_port import WorkerStarter


def create_app(
    config: ServerConfig, *, start_worker: WorkerStarter | None = None
) -> web.Application:
    """The application for `config`. `start_worker` is the seam for tests."""
    app = web.Application(
        middlewares=[identify, answer_errors], client_max_size=config.max_body_mb << 20
    )
    status = ServerStatus()
    app[CONFIG] = config
    app[STATUS] = status
    app[SYSTEM] = SystemMetrics()
    app[REGISTRY] = ModelRegistry(
        Catalogue(config.model_directories),
        start_worker or WorkerLauncher(config.worker_command, config.load_timeout),
        status,
        drain_seconds=config.drain_seconds,
    )
    app.on_response_prepare.append(send_request_id)
    app.cleanup_ctx.append(_sample_system)
    app.on_shutdown.append(_close_registry)
    app.add_routes(routes())
    return app


async def _close_registry(app: web.Application) -> None:
    """Before aiohttp ends the handlers: those that wait for an answer get it, or an error."""
    await app[REGISTRY].close()


async def _sample_system(app: web.Application) -> AsyncIterator[None]:
    await asyncio.to_thread(app[SYSTEM].start)
    yield
    app[SYSTEM].stop()
