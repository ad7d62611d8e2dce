"""make_parts: what serves models, without HTTP; `app` puts it behind routes.

It imports no aiohttp, so that a server can begin to load a model before it imports the rest.
"""

import asyncio
import logging
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from llamabind.errors import InvalidParameterError
from server.catalogue.catalogue import Catalogue
from server.catalogue.companion_files import CompanionFiles
from server.catalogue.file_settings import file_settings
from server.catalogue.header_store import HeaderStore
from server.catalogue.model_file import ModelFile
from server.catalogue.presets import Presets
from server.config import ServerConfig
from server.errors import ApiError
from server.hub.cache import HubCache, default_root
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
from server.monitoring.model_meter import ModelMeter
from server.protocol.load_settings import LoadSettings
from server.protocol.loading import Devices, PrefixFiles
from server.status import ServerStatus
from server.supervisor.estimate_store import EstimateStore
from server.supervisor.estimator import WorkerEstimator
from server.supervisor.interface import Estimator, WorkerStarter
from server.supervisor.launcher import WorkerLauncher
from server.supervisor.pool import WorkerPool

logger = logging.getLogger(__name__)
# An estimate reads only header and vocabulary; a slower file is treated as hostile.
_ESTIMATE_SECONDS = 60.0


@dataclass(slots=True, kw_only=True)
class ModelParts:
    """The parts of the server that know nothing of HTTP."""

    status: ServerStatus
    bus: EventBus
    metrics: ServerMetrics
    admission: Admission
    hub_cache: HubCache
    presets: Presets
    companions: CompanionFiles
    pool: WorkerPool
    estimates: EstimateStore
    registry: ModelRegistry
    model_file: Path | None
    _first_load: asyncio.Task[None] | None = None

    def begin_first_load(self) -> asyncio.Task[None] | None:
        """Begin to load the model of --model, once; returns the task, None without --model."""
        if self.model_file is not None and self._first_load is None:
            self._first_load = asyncio.create_task(self._load(self.model_file.name))
        return self._first_load

    async def close(self) -> None:
        """End the processes that wait for a model, and finish writing estimates."""
        await self.pool.close()
        await self.estimates.close()

    async def _load(self, model_id: str) -> None:
        try:
            await self.registry.load(model_id)
        except (ApiError, InvalidParameterError) as error:
            # The next request tries again.
            logger.warning("the model of --model could not be loaded: %s", error)
        finally:
            self.status.is_starting = False


def make_parts(
    config: ServerConfig,
    *,
    pool: WorkerPool | None = None,
    estimates: EstimateStore | None = None,
    headers: HeaderStore | None = None,
    start_worker: WorkerStarter | None = None,
    estimate: Estimator | None = None,
) -> ModelParts:
    """The parts for `config`. `estimates` and `headers` may come from earlier starts. Tests replace
    `pool`, or `start_worker` and `estimate`.
    """
    estimates = estimates or EstimateStore()
    pool = pool or WorkerPool(config.worker_command)
    bus, metrics = EventBus(), ServerMetrics()
    bus.listen(ModelMeter(metrics).on_event)
    hub_cache = HubCache(config.hub_cache or default_root(os.environ))
    presets = Presets(config.preset_models, config.model_settings, hub_cache)
    companions = CompanionFiles(config.model_directories, config.companions, presets)
    devices = Devices(config.device_budget_bytes, config.rpc)
    prefix_files = None
    if config.cache_dir is not None:
        prefix_files = PrefixFiles(str(config.cache_dir), config.cache_disk_mib)
    status, admission = ServerStatus(), Admission(metrics, config.max_queue)
    # Set before the first request: a probe must not see the server ready and later loading.
    status.is_starting = config.model_file is not None
    seconds = min(config.load_timeout, _ESTIMATE_SECONDS)
    return ModelParts(
        status=status,
        bus=bus,
        metrics=metrics,
        admission=admission,
        hub_cache=hub_cache,
        presets=presets,
        companions=companions,
        pool=pool,
        estimates=estimates,
        model_file=config.model_file,
        registry=_make_registry(
            config,
            _catalogue(config, presets, hub_cache, headers),
            presets,
            companions,
            start_worker
            or WorkerLauncher(
                pool, config.load_timeout, companions, devices, config.stall_seconds, prefix_files
            ),
            estimate or WorkerEstimator(pool, companions, seconds, devices, estimates),
            status,
            bus,
            admission,
        ),
    )


def _make_registry(  # noqa: PLR0913 - the wiring of make_parts
    config: ServerConfig,
    catalogue: Catalogue,
    presets: Presets,
    companions: CompanionFiles,
    start_worker: WorkerStarter,
    estimate: Estimator,
    status: ServerStatus,
    bus: EventBus,
    admission: Admission,
) -> ModelRegistry:
    clock = LoopClock()

    def defaults_of(file: ModelFile) -> LoadSettings:
        if file.projector is not None:
            companions.add_found(file.projector.name, file.projector.path)
        if file.hub is not None:
            # A draft model may be one of the hub's cache.
            companions.add_found(file.id, file.path)
        return presets.settings_of(file.id, config.default_settings, file_settings(file))

    index = ModelIndex(
        catalogue,
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


def _catalogue(
    config: ServerConfig, presets: Presets, hub_cache: HubCache, headers: HeaderStore | None
) -> Catalogue:
    file = config.model_file
    has_hub = file is None and config.hub_cache is not None
    return Catalogue(
        config.model_directories if file is None else (file.parent,),
        only=None if file is None else file.name,
        follow_links=config.follow_links if file is None else True,
        find_projectors=config.mmproj_auto and config.default_settings.mmproj is None,
        others=presets.files if file is None else dict,
        hub=hub_cache if has_hub else None,
        headers=headers,
    )


def _aliases(config: ServerConfig, presets: Presets) -> dict[str, str]:
    given = dict.fromkeys(config.aliases, config.model_file.name) if config.model_file else {}
    return {**presets.aliases, **given}
