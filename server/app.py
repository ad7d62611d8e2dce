"""create_app: makes the parts of the server and connects them."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from functools import partial

from aiohttp import web

from llamabind.errors import InvalidParameterError
from server.api.routes import routes
from server.catalogue.catalogue import Catalogue
from server.catalogue.companion_files import CompanionFiles
from server.catalogue.file_settings import file_settings
from server.catalogue.model_file import ModelFile
from server.catalogue.presets import Presets
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
from server.hub.cache import HubCache, default_root
from server.hub_parts import add_hub
from server.metrics import ServerMetrics
from server.models.admission import Admission
from server.models.clock import LoopClock
from server.models.entry import ModelEntry
from server.models.event_bus import EventBus
from server.models.idle_unloader import IdleUnloader
from server.models.index import ModelIndex
from server.models.loader import ModelLoader
from server.models.memory_budget import MemoryBudget
from server.models.memory_reserver import MemoryReserver
from server.models.registry import ModelRegistry
from server.models.unloader import ModelUnloader
from server.monitoring.collector import MetricsCollector
from server.monitoring.model_meter import ModelMeter
from server.monitoring.rpc_devices import RpcReader
from server.monitoring.system_metrics import SystemMetrics
from server.protocol.load_settings import LoadSettings
from server.protocol.loading import Devices
from server.requests.remote_media import MediaFetcher
from server.status import ServerStatus
from server.supervisor.estimator import WorkerEstimator
from server.supervisor.interface import Estimator, WorkerStarter
from server.supervisor.launcher import WorkerLauncher

logger = logging.getLogger(__name__)
# An estimate reads only header and vocabulary; a slower file is treated as hostile.
_ESTIMATE_SECONDS = 60.0


def create_app(
    config: ServerConfig,
    *,
    start_worker: WorkerStarter | None = None,
    estimate: Estimator | None = None,
) -> web.Application:
    """The application for `config`. Tests replace `start_worker` and `estimate`."""
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
    app[STATUS] = ServerStatus()
    remote = RpcReader(config.rpc) if config.rpc else None
    app[SYSTEM] = SystemMetrics(rpc_reader=remote)
    app[BUS] = EventBus()
    app[EVENT_STREAMS] = EventStreams()
    app[MEDIA] = MediaFetcher(config.media_hosts, folder=config.media_path)
    metrics = app[METRICS] = ServerMetrics()
    app[BUS].listen(ModelMeter(metrics).on_event)
    admission = Admission(metrics, config.max_queue)
    app[HUB_CACHE] = HubCache(config.hub_cache or default_root(os.environ))
    presets = app[PRESETS] = Presets(config.preset_models, config.model_settings, app[HUB_CACHE])
    app[COMPANIONS] = CompanionFiles(config.model_directories, config.companions, presets)
    command, files = config.worker_command, app[COMPANIONS]
    devices = Devices(config.device_budget_bytes, config.rpc)
    app[REGISTRY] = _make_registry(
        config,
        presets,
        start_worker
        or WorkerLauncher(command, config.load_timeout, files, devices, config.stall_seconds),
        estimate
        or WorkerEstimator(command, files, min(config.load_timeout, _ESTIMATE_SECONDS), devices),
        app,
        admission,
    )
    add_hub(app)
    metrics.registry.register(
        MetricsCollector(
            metrics,
            app[REGISTRY],
            admission,
            app[SYSTEM],
            for_gateways=config.gateway_metrics,
        )
    )
    app.on_response_prepare.append(send_request_id)
    app.on_response_prepare.append(send_warnings)
    app.on_response_prepare.append(send_cors_headers)
    app.cleanup_ctx.append(_sample_system)
    app.cleanup_ctx.append(_start_models)
    app.on_shutdown.append(_close_registry)
    app.on_cleanup.append(_close_fetcher)
    app.add_routes(routes(config.api_prefix))
    app.router.register_resource(AnySpelling(app.router))
    return app


def _make_registry(
    config: ServerConfig,
    presets: Presets,
    start_worker: WorkerStarter,
    estimate: Estimator,
    app: web.Application,
    admission: Admission,
) -> ModelRegistry:
    status, bus = app[STATUS], app[BUS]
    clock = LoopClock()
    companions = app[COMPANIONS]

    def defaults_of(file: ModelFile) -> LoadSettings:
        if file.projector is not None:
            companions.add_found(file.projector.name, file.projector.path)
        if file.hub is not None:
            # A draft model may be one of the hub's cache.
            companions.add_found(file.id, file.path)
        return presets.settings_of(file.id, config.default_settings, file_settings(file))

    hub = app[HUB_CACHE] if config.hub_cache is not None else None
    index = ModelIndex(
        _catalogue(config, presets, hub),
        lambda file: ModelEntry(
            file,
            defaults_of,
            clock,
            bus.publish,
            ttl_seconds=config.ttl_seconds,
        ),
        partial(_aliases, config, presets),
    )
    unloader = ModelUnloader(config.drain_seconds)
    IdleUnloader(index, unloader, bus, clock)
    budget = MemoryBudget(
        config.memory_budget_mb << 20,
        config.device_budget_bytes,
        config.models_max,
    )
    reserver = MemoryReserver(
        index, unloader, estimate, budget, bus, clock, wait_seconds=config.load_timeout
    )
    loader = ModelLoader(start_worker, reserver, status, bus, clock)
    return ModelRegistry(index, loader, unloader, admission, autoload=config.models_autoload)


def _catalogue(config: ServerConfig, presets: Presets, hub: HubCache | None) -> Catalogue:
    file = config.model_file
    return Catalogue(
        config.model_directories if file is None else (file.parent,),
        only=None if file is None else file.name,
        follow_links=config.follow_links if file is None else True,
        find_projectors=config.mmproj_auto and config.default_settings.mmproj is None,
        others=presets.files if file is None else dict,
        hub=hub if file is None else None,
    )


def _aliases(config: ServerConfig, presets: Presets) -> dict[str, str]:
    given = dict.fromkeys(config.aliases, config.model_file.name) if config.model_file else {}
    return {**presets.aliases, **given}


async def _close_registry(app: web.Application) -> None:
    """Runs before aiohttp cancels the handlers, so that each gets its answer or an error."""
    app[BUS].close()
    await app[DOWNLOADS].close()
    await app[REGISTRY].close()


async def _close_fetcher(app: web.Application) -> None:
    await app[MEDIA].close()


async def _start_models(app: web.Application) -> AsyncIterator[None]:
    """With --model, start to load that model; /health answers 503 until it is loaded."""
    file = app[CONFIG].model_file
    # Set before the first request: a probe must not see the server ready and later loading.
    app[STATUS].is_starting = file is not None
    task = asyncio.create_task(_load(app, file.name) if file is not None else _load_presets(app))
    yield
    task.cancel()


async def _load(app: web.Application, model_id: str) -> None:
    try:
        await app[REGISTRY].load(model_id)
    except (ApiError, InvalidParameterError) as error:
        # The next request tries again.
        logger.warning("the model of --model could not be loaded: %s", error)
    finally:
        app[STATUS].is_starting = False


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
