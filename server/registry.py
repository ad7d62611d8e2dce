"""ModelRegistry: which models there are, which are loaded, and who may use them when.

Policy only: files come from the Catalogue, processes from a WorkerStarter.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from server.catalogue import Catalogue, ModelFile
from server.errors import (
    ModelNotFoundError,
    StateConflictError,
    UnavailableError,
    UnusableModelError,
    load_error,
)
from server.load_settings import LoadSettings
from server.model_entry import Failure, ModelEntry, ModelState
from server.status import ServerStatus
from server.stream import TokenStream
from server.worker_port import LoadFailedError, Worker, WorkerExit, WorkerStarter

logger = logging.getLogger(__name__)
_RETRY_SECONDS = 5
# Loads compete for disk and memory; more at once only makes each slower.
_CONCURRENT_LOADS = 2


class ModelRegistry:
    """All models and their lives. Loop only; `close` before the loop ends."""

    def __init__(
        self,
        catalogue: Catalogue,
        start_worker: WorkerStarter,
        status: ServerStatus,
        *,
        drain_seconds: float,
    ) -> None:
        self._catalogue = catalogue
        self._start_worker = start_worker
        self._status = status
        self._drain_seconds = drain_seconds
        self._entries: dict[str, ModelEntry] = {}
        self._scan: asyncio.Task[Mapping[str, ModelFile]] | None = None
        self._load_slots = asyncio.Semaphore(_CONCURRENT_LOADS)
        self._closing = False

    # -- queries

    async def list(self) -> list[ModelEntry]:
        """Every model on disk or in memory, by id."""
        await self._refresh()
        return [entry for _, entry in sorted(self._entries.items())]

    async def find(self, model_id: str) -> ModelEntry:
        """The model of that id. Raises ModelNotFoundError."""
        # Memory first: a chat with a loaded model does not wait for the disk.
        entry = self._entries.get(model_id)
        if entry is None or not entry.is_in_memory:
            await self._refresh()
            entry = self._entries.get(model_id)
        if entry is None:
            raise ModelNotFoundError(model_id)
        return entry

    # -- life

    async def load(self, model_id: str, settings: LoadSettings | None = None) -> ModelEntry:
        """Have the model in memory; None means with the last settings.

        Loads at the same time are one load; a model that is loaded with other settings is drained
        and loaded again. The load goes on when the caller is cancelled. Raises ApiError.
        """
        entry = await self.find(model_id)
        wanted = entry.settings if settings is None else settings
        while True:
            self._require_room_for(entry)
            if entry.state is ModelState.LOADED and entry.settings == wanted:
                return entry
            if entry.state is ModelState.LOADED:
                await self._drain(entry)
            elif entry.loading is not None and entry.settings != wanted:
                await asyncio.wait({entry.loading})
            else:
                await self._join_load(entry, wanted)

    async def unload(self, model_id: str) -> None:
        """Take the model out of memory: running answers finish, within the limit.

        A load in progress is cancelled. Raises StateConflictError if there is nothing to unload.
        """
        entry = await self.find(model_id)
        if entry.loading is not None:
            entry.loading.cancel()
            await asyncio.wait({entry.loading})
        elif entry.state in (ModelState.LOADED, ModelState.DRAINING):
            await self._drain(entry)
        else:
            raise StateConflictError(
                f"model {model_id!r} is not loaded, it is {entry.state}", code="model_not_loaded"
            )

    @asynccontextmanager
    async def lease(self, model_id: str, stream: TokenStream) -> AsyncIterator[Worker]:
        """The model's worker for one request, loaded first if need be; kept until the end.

        `stream` tells at the end how many tokens it was. Raises ApiError.
        """
        entry = await self.load(model_id)
        entry.acquire()
        try:
            yield entry.worker
        finally:
            entry.release(stream.usage)

    async def close(self) -> None:
        """Take no new requests, let running answers finish within the limit, stop every worker."""
        self._closing = True
        loads = [entry.loading for entry in self._entries.values() if entry.loading is not None]
        for task in loads:
            task.cancel()
        in_memory = [entry for entry in self._entries.values() if entry.is_in_memory]
        await asyncio.gather(*(self._drain(entry) for entry in in_memory))
        if loads:
            await asyncio.wait(loads)

    # -- inside

    async def _refresh(self) -> None:
        """Read the directories, once for all who ask meanwhile."""
        if self._scan is None:
            self._scan = asyncio.create_task(asyncio.to_thread(self._catalogue.scan))
            self._scan.add_done_callback(self._take_scan)
        await asyncio.shield(self._scan)

    def _take_scan(self, scan: asyncio.Task[Mapping[str, ModelFile]]) -> None:
        self._scan = None
        if scan.cancelled() or scan.exception() is not None:
            return
        files = scan.result()
        for model_id, file in files.items():
            if model_id in self._entries:
                self._entries[model_id].refresh(file)
            else:
                self._entries[model_id] = ModelEntry(file)
        for model_id in self._entries.keys() - files.keys():
            entry = self._entries[model_id]
            if not entry.is_in_memory and entry.loading is None:
                del self._entries[model_id]

    def _require_room_for(self, entry: ModelEntry) -> None:
        if self._closing:
            raise UnavailableError("the server is shutting down", retry_after=_RETRY_SECONDS)
        if entry.state is ModelState.DRAINING:
            raise UnavailableError(
                f"model {entry.id!r} is being unloaded", retry_after=_RETRY_SECONDS
            )
        if entry.state is ModelState.BROKEN:
            detail = entry.file.broken or "the file cannot be read"
            raise load_error(entry.file.reason or "corrupt_file", f"model {entry.id!r}: {detail}")

    async def _join_load(self, entry: ModelEntry, settings: LoadSettings) -> None:
        """Start a load or join the one that runs; returns when it succeeded."""
        task = entry.loading
        if task is None:
            entry.queue(settings)
            task = entry.loading = asyncio.create_task(self._load(entry))
        # Not awaited itself: a caller that leaves must not cancel it for the others.
        await asyncio.wait({task})
        if task.cancelled():
            raise load_error("cancelled", f"the load of {entry.id!r} was cancelled")
        if error := task.exception():
            raise _as_api_error(entry, error)

    async def _load(self, entry: ModelEntry) -> None:
        """The one load of an entry: its own task, whoever waits for it."""
        try:
            async with self._load_slots:
                entry.report_progress(0.0)
                path, settings = entry.file.path, entry.settings
                worker = await self._start_worker(entry.id, path, settings, entry.report_progress)
        except LoadFailedError as error:
            self._fail(entry, Failure(error.reason, error.detail, error.log_tail))
            raise
        except BaseException:
            entry.detach()
            raise
        finally:
            entry.loading = None
        entry.attach(worker)
        worker.exited.add_done_callback(lambda future: self._on_exit(entry, worker, future))
        logger.info("model %s: loaded, process %d", entry.id, worker.pid)

    def _on_exit(
        self, entry: ModelEntry, worker: Worker, future: asyncio.Future[WorkerExit]
    ) -> None:
        end = future.result()
        if end.expected or not entry.is_held_by(worker):
            return
        detail = f"the worker process {end.description}"
        self._fail(entry, Failure("crashed", detail, end.log_tail))

    def _fail(self, entry: ModelEntry, failure: Failure) -> None:
        entry.detach(failure)
        self._status.record_error(f"model {entry.id}: {failure.reason}: {failure.detail}")
        logger.error("model %s: %s: %s", entry.id, failure.reason, failure.detail)
        for line in failure.log_tail[-10:]:
            logger.error("model %s: | %s", entry.id, line)

    async def _drain(self, entry: ModelEntry) -> None:
        """Out of memory in an orderly way; several callers join, and leaving does not stop it."""
        if entry.draining is None:
            entry.drain()
            entry.draining = asyncio.create_task(self._drain_and_stop(entry))
        await asyncio.shield(entry.draining)

    async def _drain_and_stop(self, entry: ModelEntry) -> None:
        worker = entry.worker
        try:
            async with asyncio.timeout(self._drain_seconds):
                await entry.wait_idle()
        except TimeoutError:
            logger.warning("model %s: %d requests are cut off", entry.id, entry.n_requests)
        await worker.stop()
        # A crash while it drained has detached it already, with its reason.
        if entry.is_held_by(worker):
            entry.detach()
        entry.draining = None
        logger.info("model %s: unloaded", entry.id)


def _as_api_error(entry: ModelEntry, error: BaseException) -> BaseException:
    if not isinstance(error, LoadFailedError):
        return error
    api_error = load_error(error.reason, f"model {entry.id!r} cannot be loaded: {error.detail}")
    if isinstance(api_error, UnusableModelError) or error.reason == "crashed":
        api_error.extra["log"] = list(error.log_tail[-10:])
    return api_error
