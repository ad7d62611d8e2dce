"""add_hub: the parts of the application that download from a hub."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from server.catalogue.model_file import ModelFile
from server.http.app_keys import (
    BUS,
    CONFIG,
    DOWNLOADS,
    HUB_CACHE,
    LOOKUPS,
    METRICS,
    REGISTRY,
)
from server.hub.download import Download
from server.hub.downloads import Downloads, Hooks
from server.hub.lookups import Hub, Lookups
from server.models.events import DownloadChanged, ModelsChanged


def add_hub(app: web.Application) -> None:
    """Put Lookups and Downloads into the application; nothing is asked before a request does."""
    config, bus, metrics = app[CONFIG], app[BUS], app[METRICS]
    hub = Hub(config.hub_command, os.environ, token=config.hub_token, offline=config.offline)
    lookups = app[LOOKUPS] = Lookups(hub)

    def on_change(download: Download) -> None:
        bus.publish(DownloadChanged(download=download.document()))

    def on_end(download: Download) -> None:
        metrics.downloads.labels(download.state).inc()
        if download.state == "completed":
            bus.publish(ModelsChanged())

    async def find_model(download: Download) -> str | None:
        files = {entry.id: entry.file for entry in await app[REGISTRY].list()}
        repo, commit, path = download.key
        link = app[HUB_CACHE].link(repo, commit, path)
        return await asyncio.to_thread(_same_file, link, files)

    hooks = Hooks(
        on_change=on_change,
        on_end=on_end,
        on_bytes=metrics.download_bytes.inc,
        find_model=find_model,
    )
    app[DOWNLOADS] = Downloads(hub, lookups, app[HUB_CACHE], hooks)


def _same_file(link: Path, files: Mapping[str, ModelFile]) -> str | None:
    """The id of the model with this first file: another commit may list the same bytes."""
    real = os.path.realpath(link)
    models = {model_id: file for model_id, file in files.items() if file.hub is not None}
    exact = (model_id for model_id, file in models.items() if file.path == link)
    same = (model_id for model_id, file in models.items() if os.path.realpath(file.path) == real)
    return next(exact, None) or next(same, None)
