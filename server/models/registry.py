"""ModelRegistry: loads, leases and unloads models.

Policy only: the ModelIndex finds files, the ModelLoader loads, the ModelUnloader drains.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from server.errors import ApiError, StateConflictError, UnavailableError, load_error
from server.models.admission import Admission
from server.models.entry import LoadRequest, ModelEntry
from server.models.index import ModelIndex
from server.models.loader import ModelLoader, crash_loop_error, unsupported_cpu_error
from server.models.memory_budget import EvictionPlan
from server.models.state import ModelState, UnloadReason
from server.models.unloader import ModelUnloader
from server.protocol.load_settings import LoadSettings
from server.protocol.loading import Estimated
from server.streams.token_stream import TokenStream
from server.supervisor.interface import Worker

AUTOLOAD: ContextVar[bool | None] = ContextVar("AUTOLOAD", default=None)
"""Whether the current request may load models; None is the server's setting."""

_RETRY_SECONDS = 5
# A request waits for the restart of a crashed model if the remaining delay is at most this.
_MAX_BACK_OFF_SECONDS = 5.0
_NOT_IN_MEMORY = (ModelState.UNLOADED, ModelState.FAILED, ModelState.BROKEN)


@dataclass(frozen=True, slots=True)
class LoadPreview:
    """The memory a load with `settings` would take, and the models to unload for it."""

    model_id: str
    settings: LoadSettings
    estimated: Estimated
    plan: EvictionPlan


class ModelRegistry:
    """All models. Event loop only; call `close` before the loop ends."""

    def __init__(
        self,
        index: ModelIndex,
        loader: ModelLoader,
        unloader: ModelUnloader,
        admission: Admission,
        *,
        autoload: bool = True,
    ) -> None:
        self._index = index
        self._loader = loader
        self._unloader = unloader
        self._admission = admission
        self._autoload = autoload
        self._closing = False

    # -- queries

    @property
    def entries(self) -> tuple[ModelEntry, ...]:
        """Every model as of the last read of the directories; reads no disk."""
        return tuple(self._index.entries)

    async def list(self) -> list[ModelEntry]:
        """Every model on disk or in memory, by id."""
        return await self._index.list()

    async def find(self, model_id: str) -> ModelEntry:
        """The model of that id or alias. Raises ModelNotFoundError."""
        return await self._index.find(model_id)

    def find_known(self, model_id: str) -> ModelEntry:
        """The model of that id or alias, as of the last read of the directories; reads no disk.

        Raises ModelNotFoundError, or UnavailableError before the first read.
        """
        return self._index.find_known(model_id)

    def aliases_of(self, model_id: str) -> tuple[str, ...]:
        """The aliases of a model."""
        return self._index.aliases_of(model_id)

    # -- load, lease, unload

    async def load(self, model_id: str, settings: LoadSettings | None = None) -> ModelEntry:
        """Load the model; None repeats the last settings.

        Concurrent calls share one load; a model that is loaded with other settings is drained and
        loaded again. The load goes on when the caller is cancelled. Resets a crash loop. Raises
        ApiError.
        """
        entry = await self.find(model_id)
        wanted = entry.load_request_for(settings)
        n_unload_requests = entry.n_unload_requests
        entry.guard.reset()
        if entry.state is ModelState.LOADED and entry.settings.engine != wanted.settings.engine:
            # Check first: a working model must not be unloaded for settings that cannot work.
            wanted = await self._check(entry, settings, wanted)
        with entry.leases.claim():
            while True:
                self._require_usable(entry)
                self._require_not_unloaded(entry, n_unload_requests)
                if entry.state is ModelState.LOADED:
                    if entry.settings.engine == wanted.settings.engine:
                        entry.keep_loaded(wanted)
                        return entry
                    # Requests that arrive during the drain wait, then load it with these.
                    entry.load_request = wanted
                    entry.restore_on_failure = True
                    await self._unloader.unload(entry, UnloadReason.RELOAD)
                elif entry.draining is not None:
                    await asyncio.shield(entry.draining.task)
                elif entry.loading is not None and entry.settings.engine != wanted.settings.engine:
                    await asyncio.wait({entry.loading})
                else:
                    await self._join(entry, wanted)
                    entry.keep_loaded(wanted)
                    return entry

    async def estimate(self, model_id: str, settings: LoadSettings) -> LoadPreview:
        """Estimate a load with these settings; changes nothing. Raises ApiError."""
        entry = await self.find(model_id)
        wanted = entry.load_request_for(settings)
        self._require_usable(entry)
        try:
            estimated, plan = await self._loader.preview(entry, wanted.settings)
        except ApiError as error:
            if not entry.give_up_projector(wanted, error.param, error.message):
                raise
            wanted = entry.load_request_for(settings)
            estimated, plan = await self._loader.preview(entry, wanted.settings)
        return LoadPreview(entry.id, wanted.requested, estimated, plan)

    async def unload(self, model_id: str, *, force: bool = False) -> None:
        """Unload the model: running answers may finish within the drain limit, not with `force`.

        A load in progress is cancelled, and requests that wait for it fail. Raises
        StateConflictError if the model is neither loaded nor being loaded.
        """
        entry = await self.find(model_id)
        if entry.loading is not None:
            entry.request_unload()
            await self._unloader.cancel_load(entry)
        elif entry.is_in_memory:
            entry.request_unload()
            await self._unloader.unload(entry, UnloadReason.REQUESTED, force=force)
        else:
            raise StateConflictError(
                f"model {entry.id!r} is not loaded (state: {entry.state})", code="model_not_loaded"
            )

    async def forget(self, model_ids: Collection[str]) -> None:
        """Unload these models and look their settings up again: they have changed or are gone."""
        for model_id in model_ids:
            entry = self._index.get(model_id)
            if entry is not None and (entry.is_in_memory or entry.loading is not None):
                with contextlib.suppress(StateConflictError):
                    await self.unload(model_id)
        self._index.forget(model_ids)

    @asynccontextmanager
    async def admit(self, model_id: str, stream: TokenStream) -> AsyncIterator[ModelEntry]:
        """Admit a request until the context ends; it counts once, however many leases it takes.

        Raises ModelNotFoundError and QueueFullError.
        """
        entry = await self.find(model_id)
        n_parallel = entry.worker.model.n_parallel if entry.is_in_memory else None
        with self._admission.request(entry.id, n_parallel, stream):
            yield entry

    @asynccontextmanager
    async def lease(self, entry: ModelEntry, stream: TokenStream) -> AsyncIterator[Worker]:
        """Lease the worker of the model to an admitted request, loading the model if needed.

        The model stays loaded until the context ends. `stream` is the request's: its token counts
        are added to the model's. Raises ApiError.
        """
        with entry.leases.claim():
            await self._make_ready(entry)
            entry.leases.acquire(stream)
        try:
            yield entry.worker
        finally:
            if stream.is_complete:
                entry.guard.record_answer()
            entry.leases.release(stream)

    async def close(self) -> None:
        """Take no new requests, let running answers finish within the limit, stop every worker."""
        self._closing = True
        entries = list(self._index.entries)
        for entry in entries:
            entry.request_unload()
        loads = [entry.loading for entry in entries if entry.loading is not None]
        for task in loads:
            task.cancel()
        in_memory = [entry for entry in entries if entry.is_in_memory]
        await asyncio.gather(
            *(self._unloader.unload(entry, UnloadReason.SHUTDOWN) for entry in in_memory)
        )
        if loads:
            await asyncio.wait(loads)

    # -- helpers

    async def _check(
        self, entry: ModelEntry, settings: LoadSettings | None, wanted: LoadRequest
    ) -> LoadRequest:
        """`wanted` if the model can be reloaded with it; else the same without the projector that
        was found beside the model, if that is the cause. Raises ApiError.
        """
        try:
            await self._loader.check(entry, wanted.settings)
        except ApiError as error:
            if not entry.give_up_projector(wanted, error.param, error.message):
                raise
            wanted = entry.load_request_for(settings)
            await self._loader.check(entry, wanted.settings)
        return wanted

    async def _make_ready(self, entry: ModelEntry) -> None:
        """Returns when the model is loaded, with no await after the check."""
        n_unload_requests = entry.n_unload_requests
        if entry.is_in_memory and entry.worker.exited.done():
            # The worker has just exited: let the callback run that updates the entry.
            await asyncio.sleep(0)
        while entry.state is not ModelState.LOADED or self._closing:
            self._require_usable(entry)
            self._require_not_unloaded(entry, n_unload_requests)
            if entry.draining is not None:
                self._require_reload(entry)
                await asyncio.shield(entry.draining.task)
            elif entry.loading is None:
                self._require_startable(entry)
                await self._join(entry, entry.load_request)
            else:
                await self._wait_for_current_load(entry)

    async def _wait_for_current_load(self, entry: ModelEntry) -> None:
        tried = entry.settings.engine
        try:
            await self._wait_for_load(entry)
        except ApiError:
            # Settings of another client's load that failed must fail that client only.
            if entry.settings.engine == tried:
                raise

    async def _join(self, entry: ModelEntry, load_request: LoadRequest) -> None:
        """Start a load or join the one in progress; returns when it has succeeded."""
        if entry.loading is None:
            self._loader.start(entry, load_request)
        await self._wait_for_load(entry)
        if not entry.is_in_memory:
            raise load_error("cancelled", f"model {entry.id!r} was unloaded right after its load")

    async def _wait_for_load(self, entry: ModelEntry) -> None:
        try:
            await self._loader.join(entry)
        except ApiError:
            # If the shutdown cancelled the load, the client should retry at the next server.
            self._require_open()
            raise

    def _require_open(self) -> None:
        if self._closing:
            raise UnavailableError("the server is shutting down", retry_after=_RETRY_SECONDS)

    def _require_not_unloaded(self, entry: ModelEntry, n_unload_requests: int) -> None:
        """Raise if the model was unloaded since `n_unload_requests` were counted."""
        if entry.n_unload_requests != n_unload_requests:
            raise load_error(
                "cancelled", f"model {entry.id!r} was unloaded while this request waited for it"
            )

    def _require_usable(self, entry: ModelEntry) -> None:
        self._require_open()
        if entry.state in _NOT_IN_MEMORY and entry.file.broken:
            detail = f"model {entry.id!r}: {entry.file.broken}"
            raise load_error(entry.file.reason or "corrupt_file", detail)

    def _require_reload(self, entry: ModelEntry) -> None:
        """Raise if a client or the shutdown unloads the model.

        After any other drain (reload, eviction, idle) a waiting request loads it again.
        """
        drain = entry.draining
        if drain is not None and drain.reason in (UnloadReason.REQUESTED, UnloadReason.SHUTDOWN):
            raise UnavailableError(
                f"model {entry.id!r} is being unloaded; retry in {_RETRY_SECONDS} s",
                code="model_draining",
                retry_after=_RETRY_SECONDS,
            )

    def _require_startable(self, entry: ModelEntry) -> None:
        """Raise unless a request may start the load without an explicit one."""
        has_crashed = entry.failure is not None and entry.failure.reason == "crashed"
        if error := unsupported_cpu_error(entry):
            raise error
        if entry.guard.is_looping:
            raise crash_loop_error(entry)
        if entry.guard.wait_seconds > _MAX_BACK_OFF_SECONDS:
            raise UnavailableError(
                f"model {entry.id!r} has crashed {entry.guard.crashes} times; it can be started "
                f"again in {entry.guard.wait_seconds:.0f} s",
                code="crash_back_off",
                retry_after=math.ceil(entry.guard.wait_seconds),
            )
        wanted = AUTOLOAD.get()
        if not (self._autoload if wanted is None else wanted) and not has_crashed:
            raise StateConflictError(
                f"model {entry.id!r} is not loaded, and requests do not load models on this server "
                f"(--no-models-autoload); POST /api/v2/models/{entry.id}/load first",
                code="model_not_loaded",
            )
