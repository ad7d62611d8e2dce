"""Downloads: the running, queued and finished downloads. Event loop only."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from server.errors import ApiError
from server.hub.cache import HubCache
from server.hub.deletion import discard_parts
from server.hub.download import Download
from server.hub.errors import hub_error
from server.hub.lookups import Hub, Lookups
from server.hub.messages import Described, Fetch, Progress
from server.hub.reference import ModelReference
from server.hub.repo_files import ModelFiles, NoSuchFileError, choose, reference_of

logger = logging.getLogger(__name__)
_MAX_RUNNING = 2
_MAX_UNFINISHED = 100
_MAX_FINISHED = 100
# The hub sends no larger file over plain HTTP; those come by hf-xet, which cannot resume.
_MAX_HTTP_BYTES = 50_000_000_000

OnChange = Callable[[Download], None]
OnBytes = Callable[[int], None]
FindModel = Callable[[Download], Awaitable[str | None]]
"""Reads the cache again; the id of the downloaded model, None if it is not listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Callbacks into the rest of the server; `on_bytes` gets the number of new bytes."""

    on_change: OnChange
    on_end: OnChange
    on_bytes: OnBytes
    find_model: FindModel


class Downloads:
    """Starts, lists and cancels downloads; at most two run, the others wait in order."""

    def __init__(self, hub: Hub, lookups: Lookups, cache: HubCache, hooks: Hooks) -> None:
        self._hub = hub
        self._lookups = lookups
        self._cache = cache
        self._hooks = hooks
        self._downloads: dict[str, Download] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(_MAX_RUNNING)
        self._closing = False

    @property
    def all(self) -> list[Download]:
        """Every download, the oldest first."""
        return list(self._downloads.values())

    def get(self, download_id: str) -> Download:
        """The download with this id. Raises ApiError."""
        download = self._downloads.get(download_id)
        if download is None:
            raise hub_error(
                "download_not_found",
                f"there is no download {download_id[:100]!r}; GET /api/v2/downloads lists all",
                param="id",
            )
        return download

    def find(self, reference: ModelReference) -> Download | None:
        """The unfinished download of this name; without a quantisation any of the repository."""
        for one in self._unfinished:
            quant = one.reference.quant if reference.quant is None else reference.quant
            wanted = replace(reference, quant=quant)
            if str(one.reference).casefold() == str(wanted).casefold():
                return one
        return None

    async def start(
        self, reference: ModelReference, file: str | None = None
    ) -> tuple[Download, bool]:
        """Download a model; returns the download, and whether this call has started it.

        For a model that is in the cache the download is completed at once. Raises ApiError for
        each error that is found before the first byte.
        """
        self._hub.require()
        described = await self._lookups.describe(reference.repo, reference.revision)
        files = self._choose(described, reference, file)
        reference = _named(reference, described, files)
        key = (reference.repo, described.commit, files.path)
        if (running := self._running(key)) is not None:
            return running, False
        done, is_complete = await asyncio.to_thread(self._look, reference, described, files)
        if not is_complete:
            await self._lookups.probe(reference.repo, described.commit, files.path)
            await self._require_space(files.size - sum(done))
        # Another client may have started it meanwhile.
        if (running := self._running(key)) is not None:
            return running, False
        self._require_room()
        download_id = f"dl-{uuid.uuid4().hex[:16]}"
        download = Download(download_id, reference, described.commit, files, done)
        self._forget(key)
        self._downloads[download.id] = download
        if is_complete:
            # The cache has not changed, so no event is sent.
            download.finish("completed")
            download.model_id = await self._hooks.find_model(download)
            return download, False
        logger.info("download %s: %s, %d bytes", download.id, reference, files.size)
        self._changed(download)
        task = self._tasks[download.id] = asyncio.create_task(self._run(download))
        task.add_done_callback(lambda _: self._tasks.pop(download.id, None))
        return download, True

    async def cancel(self, download_id: str, *, discard: bool = False) -> Download:
        """End a download. What it has on disk stays, for the next one to continue, unless
        `discard` is set. Raises ApiError.
        """
        download = self.get(download_id)
        if (task := self._tasks.get(download_id)) is not None:
            await self._end(download, task)
        if discard and download.state != "completed":
            others = {file.etag for one in self._unfinished for file in one.files.all}
            etags = [file.etag for file in download.files.all if file.etag not in others]
            await asyncio.to_thread(discard_parts, self._cache, download.reference.repo, etags)
            if download.state in ("cancelled", "failed"):
                download.progress(await asyncio.to_thread(self._bytes_done, download))
                self._changed(download)
        return download

    def forget_model(self, model_id: str) -> None:
        """Drop the completed downloads of a model that was deleted."""
        gone = [one.id for one in self.all if one.is_finished and one.model_id == model_id]
        for download_id in gone:
            del self._downloads[download_id]

    async def close(self) -> None:
        """End every download, keeping the parts, and the processes that ask the hub."""
        self._closing = True
        await asyncio.gather(
            *(self._end(self._downloads[name], task) for name, task in self._tasks.items())
        )
        await self._lookups.close()

    # -- helpers

    async def _end(self, download: Download, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait({task})
        if not download.is_finished:
            # Cancelled before its first step.
            self._finish(download, "cancelled")

    @property
    def _unfinished(self) -> list[Download]:
        return [one for one in self._downloads.values() if not one.is_finished]

    def _running(self, key: tuple[str, str, str]) -> Download | None:
        return next((one for one in self._unfinished if one.key == key), None)

    def uses(self, repo: str) -> bool:
        """Whether an unfinished download writes to this repository's part of the cache."""
        return any(one.reference.repo == repo for one in self._unfinished)

    @staticmethod
    def _choose(described: Described, reference: ModelReference, file: str | None) -> ModelFiles:
        try:
            return choose(described.files, reference.quant, file)
        except NoSuchFileError as error:
            raise hub_error(
                "hub_not_found",
                f"{reference.repo} {error}",
                param="model" if file is None else "file",
            ) from None

    def _look(
        self, reference: ModelReference, described: Described, files: ModelFiles
    ) -> tuple[list[int], bool]:
        repo, commit = reference.repo, described.commit
        done = [self._cache.bytes_done(repo, commit, file) for file in files.all]
        is_complete = all(self._cache.has(repo, commit, file) for file in files.all)
        if is_complete:
            try:
                self._cache.write_ref(repo, reference.revision, commit)
            except OSError:
                logger.debug("the cache of %s cannot be written", repo, exc_info=True)
        return done, is_complete

    def _bytes_done(self, download: Download) -> tuple[int, ...]:
        repo = download.reference.repo
        return tuple(
            self._cache.bytes_done(repo, download.commit, file) for file in download.files.all
        )

    async def _require_space(self, needed: int) -> None:
        """Raise ApiError unless `needed` bytes are free beside what other downloads still need."""
        free = await asyncio.to_thread(self._cache.free_bytes)
        promised = sum(one.bytes_total - one.bytes_done for one in self._unfinished)
        if free is not None and needed > free - promised:
            others = f", {promised} of them for other downloads" if promised else ""
            error = hub_error(
                "insufficient_disk_space",
                f"the download needs {needed} bytes, and the disk of the cache has {free} bytes "
                f"free{others}; free some space, or set HF_HUB_CACHE to another disk",
            )
            error.extra = {"bytes_needed": needed, "bytes_free": free - promised}
            raise error

    def _require_room(self) -> None:
        if self._closing:
            raise hub_error("hub_unreachable", "the server is shutting down", retry_after=5)
        count = len(self._unfinished)
        if count >= _MAX_UNFINISHED:
            raise hub_error(
                "too_many_downloads",
                f"{count} downloads run or wait, the limit is {_MAX_UNFINISHED}; wait for some to "
                "end, or cancel them",
                retry_after=60,
            )

    def _forget(self, key: tuple[str, str, str]) -> None:
        """Drop finished downloads: those of the same model, and the oldest over the limit."""
        ended = [one for one in self._downloads.values() if one.is_finished]
        old = [one for one in ended if one.key == key]
        old += ended[: max(0, len(ended) - _MAX_FINISHED)]
        for one in old:
            self._downloads.pop(one.id, None)

    async def _run(self, download: Download) -> None:
        try:
            async with self._slots:
                download.state = "running"
                self._changed(download)
                await self._fetch(download)
            download.model_id = await self._hooks.find_model(download)
        except asyncio.CancelledError:
            logger.info("download %s: cancelled", download.id)
            self._finish(download, "cancelled")
        except ApiError as error:
            logger.warning("download %s: %s (%s)", download.id, error.message, self._cache.root)
            self._finish(download, "failed", error)
        except Exception:
            logger.exception("download %s failed", download.id)
            message = "an internal error of the server, which its log describes; try again"
            self._finish(download, "failed", hub_error("download_failed", message))
        else:
            logger.info("download %s: completed as %s", download.id, download.model_id)
            self._finish(download, "completed")

    async def _fetch(self, download: Download) -> None:
        use_xet = any(file.size > _MAX_HTTP_BYTES for file in download.files.all)
        child = await self._hub.start(use_xet=use_xet)
        try:
            request = Fetch(
                child.next_id(),
                str(self._cache.root),
                download.reference.repo,
                download.reference.revision,
                download.commit,
                download.files.all,
            )
            async for reply in child.ask(request):
                if isinstance(reply, Progress):
                    self._hooks.on_bytes(download.progress(reply.done))
                    self._changed(download)
            # The bytes since the last report.
            self._hooks.on_bytes(download.progress(tuple(one.size for one in download.files.all)))
        finally:
            await child.stop()

    def _finish(self, download: Download, state: str, error: ApiError | None = None) -> None:
        download.finish(state, error)
        self._changed(download)
        self._hooks.on_end(download)

    def _changed(self, download: Download) -> None:
        download.notify()
        self._hooks.on_change(download)


def _named(reference: ModelReference, described: Described, files: ModelFiles) -> ModelReference:
    """The reference with the quantisation that was chosen, if there is a name for it."""
    quant = reference_of(described.files, files.path)
    return replace(reference, quant=quant or reference.quant)
