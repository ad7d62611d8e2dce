"""with_hub_model: downloads the model of --hf-repo and makes it the model to serve."""

import asyncio
import logging
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from server.config import ServerConfig
from server.errors import ApiError
from server.formats import byte_size
from server.hub.cache import HubCache, default_root
from server.hub.cached import find_cached
from server.hub.download import Download
from server.hub.downloads import Downloads, Hooks
from server.hub.errors import hub_error
from server.hub.lookups import Hub, Lookups
from server.hub.reference import ModelReference

logger = logging.getLogger(__name__)
_REPORT_SECONDS = 10.0


async def with_hub_model(config: ServerConfig) -> ServerConfig:
    """`config` with the file of --hf-repo in place of --model; the same without --hf-repo.

    If the hub does not answer, the model in the cache is used. Raises ApiError.
    """
    reference = config.hub_repo
    if reference is None:
        return config
    cache = HubCache(config.hub_cache or default_root(os.environ))
    path, name = await _path_of(config, cache, reference)
    return replace(config, model_file=path, aliases=(*config.aliases, name))


async def _path_of(
    config: ServerConfig, cache: HubCache, reference: ModelReference
) -> tuple[Path, str]:
    hub = Hub(config.hub_command, os.environ, token=config.hub_token, offline=config.offline)
    hooks = Hooks(
        on_change=_Printer().show,
        on_end=lambda _: None,
        on_bytes=lambda _: None,
        find_model=_nothing,
    )
    downloads = Downloads(hub, Lookups(hub), cache, hooks)
    try:
        download, _ = await downloads.start(reference, config.hub_file)
        while not download.is_finished:
            await download.changed.wait()
        if download.failure is not None:
            raise download.failure
        repo, commit, path = download.key
        return cache.link(repo, commit, path), str(download.reference)
    except ApiError as error:
        found = await asyncio.to_thread(find_cached, cache, reference, config.hub_file)
        if found is None:
            if error.code == "offline":
                raise hub_error(
                    "offline", f"{reference} is not in {cache.root}, and this server is offline"
                ) from None
            raise
        if error.code != "offline":
            logger.warning("%s; the model in the cache is used", error.message)
        return found, str(reference)
    finally:
        await downloads.close()


async def _nothing(_: Download) -> None:
    return None


class _Printer:
    """Shows the progress on stderr: one line that changes on a terminal, else one every 10 s."""

    def __init__(self) -> None:
        self._next = 0.0

    def show(self, download: Download) -> None:
        is_terminal = sys.stderr.isatty()
        now = time.monotonic()
        if now < self._next and not download.is_finished:
            return
        self._next = now + (0.0 if is_terminal else _REPORT_SECONDS)
        state = download.document()
        percent = 100 * download.bytes_done // max(1, download.bytes_total)
        text = (
            f"{download.reference}: {percent} % of {byte_size(download.bytes_total)}, "
            f"{byte_size(state['bytes_per_second'])}/s"
        )
        end = "\n" if download.is_finished or not is_terminal else ""
        print(f"\r{text}\033[K" if is_terminal else text, end=end, file=sys.stderr, flush=True)
