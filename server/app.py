"""create_app: puts the parts of the server behind HTTP routes."""

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial

from aiohttp import web

from llamabind.errors import InvalidParameterError
from server.api.routes import routes
from server.config import ServerConfig
from server.errors import ApiError
from server.http.access import require_key
from server.http.app_keys import (
    BUS,
    COMPANIONS,
    CONFIG,
    DOWNLOADS,
    EVENT_STREAMS,
    HUB_CACHE,
    MEDIA,
    METRICS,
    PRESETS,
    REGISTRY,
    STATUS,
    SYSTEM,
)
from server.http.body.bodies import read_bodies
from server.http.cors import require_origin, send_cors_headers
from server.http.event_streams import EventStreams
from server.http.host_check import require_host
from server.http.middleware import answer_errors, choose_autoload, identify, send_request_id
from server.http.paths import AnySpelling
from server.http.warnings_header import log_late_warnings, send_warnings
from server.monitoring.collector import MetricsCollector
from server.monitoring.rpc_devices import RpcReader
from server.monitoring.system_metrics import SystemMetrics
from server.parts.hub import add_hub
from server.parts.models import ModelParts, make_parts
from server.requests.remote_media import MediaFetcher

logger = logging.getLogger(__name__)


def create_app(config: ServerConfig, parts: ModelParts | None = None) -> web.Application:
    """The application for `config`. `parts` may have begun to load the model of --model."""
    parts = parts or make_parts(config)
    app = web.Application(
        middlewares=[
            identify,
            answer_errors,
            log_late_warnings,
            # Access checks, cheapest first; the body is read only after all of them.
            require_host(config),
            require_origin(config),
            require_key(config),
            read_bodies(config),
            choose_autoload,
        ],
        client_max_size=config.max_body_mb << 20,
    )
    app[CONFIG] = config
    app[STATUS] = parts.status
    remote = RpcReader(config.rpc) if config.rpc else None
    app[SYSTEM] = SystemMetrics(rpc_reader=remote)
    app[BUS] = parts.bus
    app[EVENT_STREAMS] = EventStreams()
    app[MEDIA] = MediaFetcher(config.media_hosts, folder=config.media_path)
    app[METRICS] = parts.metrics
    app[HUB_CACHE] = parts.hub_cache
    app[PRESETS] = parts.presets
    app[COMPANIONS] = parts.companions
    app[REGISTRY] = parts.registry
    add_hub(app)
    parts.metrics.registry.register(
        MetricsCollector(
            parts.metrics,
            parts.registry,
            parts.admission,
            app[SYSTEM],
            for_gateways=config.gateway_metrics,
        )
    )
    app.on_response_prepare.append(send_request_id)
    app.on_response_prepare.append(send_warnings)
    app.on_response_prepare.append(send_cors_headers)
    app.cleanup_ctx.append(_sample_system)
    app.cleanup_ctx.append(partial(_start_models, parts=parts))
    app.on_shutdown.append(_close_registry)
    app.on_cleanup.append(_close_fetcher)
    app.add_routes(routes(config.api_prefix))
    app.router.register_resource(AnySpelling(app.router))
    return app


async def _close_registry(app: web.Application) -> None:
    """Runs before aiohttp cancels the handlers, so that each gets its answer or an error."""
    app[BUS].close()
    await app[DOWNLOADS].close()
    await app[REGISTRY].close()


async def _close_fetcher(app: web.Application) -> None:
    await app[MEDIA].close()


async def _start_models(app: web.Application, parts: ModelParts) -> AsyncIterator[None]:
    """With --model, start to load that model; /health answers 503 until it is loaded."""
    task = parts.begin_first_load() or asyncio.create_task(_load_presets(app))
    yield
    task.cancel()
    await parts.close()


async def _load_presets(app: web.Application) -> None:
    """Read the model directories once, so that probes need not; load what presets ask for."""
    await app[REGISTRY].list()
    for model_id in app[PRESETS].loaded_on_startup:
        try:
            await _download_preset(app, model_id)
            await app[REGISTRY].load(model_id)
        except (ApiError, InvalidParameterError) as error:
            logger.warning("model %r of --models-preset could not be loaded: %s", model_id, error)


async def _download_preset(app: web.Application, model_id: str) -> None:
    """Download a preset's model from the hub, if it has one that is not in the cache."""
    preset = app[PRESETS].find(model_id)
    entry = await app[REGISTRY].find(model_id)
    if preset is None or preset.hub_model is None or not entry.file.broken:
        return
    download, _ = await app[DOWNLOADS].start(preset.hub_model, preset.hub_file)
    while not download.is_finished:
        await download.changed.wait()


async def _sample_system(app: web.Application) -> AsyncIterator[None]:
    await asyncio.to_thread(app[SYSTEM].start)
    yield
    app[SYSTEM].stop()
