"""delete_model: removes a downloaded model from the hub's cache."""

import asyncio
import logging

from aiohttp import web

from server.catalogue.model_file import HubPlace, ModelFile
from server.errors import ApiError, ForbiddenError
from server.http.app_keys import BUS, DOWNLOADS, HUB_CACHE, REGISTRY
from server.hub.deletion import BeingDownloadedError, delete_files
from server.hub.errors import hub_error
from server.models.entry import ModelEntry
from server.models.events import ModelsChanged

logger = logging.getLogger(__name__)


async def delete_model(app: web.Application, entry: ModelEntry) -> int:
    """Remove the files of a model; returns the bytes that this frees. Raises ApiError.

    Its projector goes too, unless another model of the same commit has it.
    """
    place = entry.file.hub
    if place is None:
        raise ForbiddenError(
            f"model {entry.id!r} was not downloaded from a hub, so only its owner may delete it: "
            "remove its file",
            code="model_not_removable",
        )
    _require_unused(app, entry, place)
    paths = [*place.paths, *_own_projector(app, entry)]
    try:
        freed = await asyncio.to_thread(
            delete_files, app[HUB_CACHE], place.repo, place.commit, paths
        )
    except BeingDownloadedError:
        raise _is_downloading(entry) from None
    except OSError as error:
        raise hub_error(
            "cache_not_writable",
            f"the files of model {entry.id!r} cannot be deleted: {error.strerror}",
        ) from None
    logger.info("model %s: deleted, %d bytes freed", entry.id, freed)
    app[DOWNLOADS].forget_model(entry.id)
    await app[REGISTRY].list()
    app[BUS].publish(ModelsChanged(removed=(entry.id,)))
    return freed


def _require_unused(app: web.Application, entry: ModelEntry, place: HubPlace) -> None:
    if entry.is_in_memory or entry.loading is not None:
        raise hub_error(
            "model_in_use", f"model {entry.id!r} is loaded or being loaded; unload it first"
        )
    if app[DOWNLOADS].uses(place.repo):
        raise _is_downloading(entry)


def _is_downloading(entry: ModelEntry) -> ApiError:
    return hub_error(
        "download_running",
        f"files of the repository of model {entry.id!r} are being downloaded; cancel the download "
        "first, or wait for its end",
    )


def _own_projector(app: web.Application, entry: ModelEntry) -> list[str]:
    """The path of the model's projector, if no other model has it."""
    projector, place = entry.file.projector, entry.file.hub
    if projector is None or place is None:
        return []
    others = [other.file for other in app[REGISTRY].entries if other.id != entry.id]
    if any(_has(other, entry.file) for other in others):
        return []
    folder = app[HUB_CACHE].link(place.repo, place.commit, "")
    return [projector.path.relative_to(folder).as_posix()]


def _has(other: ModelFile, file: ModelFile) -> bool:
    assert file.projector is not None
    return other.projector is not None and other.projector.path == file.projector.path
