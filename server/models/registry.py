"""ModelRegistry: which models there are, and who may use them when.

Policy only: files come from the ModelIndex, loads from the ModelLoader, drains from the
ModelUnloader.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from server.errors import ApiError, StateConflictError, UnavailableError, load_error
from server.models.admission import Admission
from server.models.entry import LoadOrder, ModelEntry
from server.models.index import ModelIndex
from server.models.loader import ModelLoader, crash_loop_error, unsupported_cpu_error
from server.models.memory_budget import EvictionPlan
from server.models.state import ModelState, UnloadReason
from server.models.unloader import ModelUnloader
from server.protocol.load_settings import LoadSettings
from server.protocol.messages import Estimated
from server.streams.token_stream import TokenStream
from server.supervisor.interface import Worker

_RETRY_SECONDS = 5
# A model that crashed is started again within the request if it may be so soon.
_BACK_OFF_PATIENCE_SECONDS = 5.0
_OUT = (ModelState.UNLOADED, ModelState.FAILED, ModelState.BROKEN)


@dataclass(frozen=True, slots=True)
class LoadPreview:
    """What a load that asks for `settings` would take, and what becomes of the other models."""

    model_id: str
    settings: LoadSettings
    estimated: Estimated
    plan: EvictionPlan


class ModelRegistry:
    """All models and their lives. Loop only; `close` before the loop ends."""

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
        """Every model as it was last seen, by id; reads no disk."""
        return tuple(self._index.entries)

    async def list(self) -> list[ModelEntry]:
        """Every model on disk or in memory, by id."""
        return await self._index.list()

    async def find(self, model_id: str) -> ModelEntry:
        """The model of that id or alias. Raises ModelNotFoundError."""
        return await self._index.find(model_id)

    def seen(self, model_id: str) -> ModelEntry:
        """The model of that id or alias as it was last seen; reads no disk.

        Raises ModelNotFoundError, or UnavailableError before anything was seen.
        """
        return self._index.seen(model_id)

    def aliases_of(self, model_id: str) -> tuple[str, ...]:
        """The other names of a model."""
        return self._index.aliases_of(model_id)

    # -- life

    async def load(self, model_id: str, settings: LoadSettings | None = None) -> ModelEntry:
        """Have the model in memory; None means with the last settings.

        Loads at the same time are one load; a model that is loaded with other settings is drained
        and loaded again. The load goes on when the caller is cancelled. A crash loop is forgotten.
        Raises ApiError.
        """
        entry = await self.find(model_id)
        wanted = entry.order_of(settings)
        orders = entry.unload_orders
        entry.guard.reset()
        if entry.state is ModelState.LOADED and entry.settings.engine != wanted.settings.engine:
            # A model that works is not given up for settings that cannot be.
            await self._loader.check(entry, wanted.settings)
        with entry.claim():
            while True:
                self._require_usable(entry)
                self._require_wanted(entry, orders)
                if entry.state is ModelState.LOADED:
                    if entry.settings.engine == wanted.settings.engine:
                        entry.keep(wanted)
                        return entry
                    # Requests that come meanwhile wait, and load it with these.
                    entry.order = wanted
                    entry.is_owed = True
                    await self._unloader.unload(entry, UnloadReason.RELOAD)
                elif entry.draining is not None:
                    await asyncio.shield(entry.draining.task)
                elif entry.loading is not None and entry.settings.engine != wanted.settings.engine:
                    await asyncio.wait({entry.loading})
                else:
                    await self._join(entry, wanted)
                    entry.keep(wanted)
                    return entry

    async def estimate(self, model_id: str, settings: LoadSettings) -> LoadPreview:
        """What a load with these settings would take now; changes nothing. Raises ApiError."""
        entry = await self.find(model_id)
        wanted = entry.order_of(settings)
        self._require_usable(entry)
        estimated, plan = await self._loader.preview(entry, wanted.settings)
        return LoadPreview(entry.id, wanted.requested, estimated, plan)

    async def unload(self, model_id: str, *, force: bool = False) -> None:
        """Take the model out of memory: running answers finish, within the limit or not at all.

        A load in progress is cancelled, and whoever waited for one is told. Raises
        StateConflictError if there is nothing to unload.
        """
        entry = await self.find(model_id)
        if entry.loading is not None:
            entry.order_unload()
            await self._unloader.cancel_load(entry)
        elif entry.is_in_memory:
            entry.order_unload()
            await self._unloader.unload(entry, UnloadReason.REQUESTED, force=force)
        else:
            raise StateConflictError(
                f"model {entry.id!r} is not loaded, it is {entry.state}", code="model_not_loaded"
            )

    @asynccontextmanager
    async def admit(self, model_id: str, stream: TokenStream) -> AsyncIterator[ModelEntry]:
        """One request from here to its end, counted once however many leases it takes.

        Raises ModelNotFoundError and QueueFullError.
        """
        entry = await self.find(model_id)
        n_parallel = entry.worker.model.n_parallel if entry.is_in_memory else None
        with self._admission.request(entry.id, n_parallel, stream):
            yield entry

    @asynccontextmanager
    async def lease(self, entry: ModelEntry, stream: TokenStream) -> AsyncIterator[Worker]:
        """The model's worker for an admitted request, loaded first if need be; kept until the end.

        `stream` tells at the end how many tokens it was. Raises ApiError.
        """
        with entry.claim():
            await self._make_ready(entry)
            entry.acquire(stream)
        try:
            yield entry.worker
        finally:
            if stream.is_complete:
                entry.guard.record_answer()
            entry.release(stream)

    async def close(self) -> None:
        """Take no new requests, let running answers finish within the limit, stop every worker."""
        self._closing = True
        entries = list(self._index.entries)
        for entry in entries:
            entry.order_unload()
        loads = [entry.loading for entry in entries if entry.loading is not None]
        for task in loads:
            task.cancel()
        in_memory = [entry for entry in entries if entry.is_in_memory]
        await asyncio.gather(
            *(self._unloader.unload(entry, UnloadReason.SHUTDOWN) for entry in in_memory)
        )
        if loads:
            await asyncio.wait(loads)

    # -- inside

    async def _make_ready(self, entry: ModelEntry) -> None:
        """Returns when the model is loaded, without having waited since it was seen so."""
        orders = entry.unload_orders
        if entry.is_in_memory and entry.worker.exited.done():
            # It died in this very round of the loop; the callback that tells the entry is due.
            await asyncio.sleep(0)
        while entry.state is not ModelState.LOADED or self._closing:
            self._require_usable(entry)
            self._require_wanted(entry, orders)
            if entry.draining is not None:
                self._require_return(entry)
                await asyncio.shield(entry.draining.task)
            elif entry.loading is None:
                self._require_startable(entry)
                await self._join(entry, entry.order)
            else:
                await self._wait_for_others_load(entry)

    async def _wait_for_others_load(self, entry: ModelEntry) -> None:
        tried = entry.settings.engine
        try:
            await self._wait_for_load(entry)
        except ApiError:
            # What somebody else wanted to try fails nobody but them.
            if entry.settings.engine == tried:
                raise

    async def _join(self, entry: ModelEntry, order: LoadOrder) -> None:
        """Start a load or join the one that runs; returns when it succeeded."""
        if entry.loading is None:
            self._loader.start(entry, order)
        await self._wait_for_load(entry)
        if not entry.is_in_memory:
            raise load_error("cancelled", f"model {entry.id!r} was unloaded at once")

    async def _wait_for_load(self, entry: ModelEntry) -> None:
        try:
            await self._loader.join(entry)
        except ApiError:
            # It was us who cancelled it: whoever waited should come back to our successor.
            self._require_open()
            raise

    def _require_open(self) -> None:
        if self._closing:
            raise UnavailableError("the server is shutting down", retry_after=_RETRY_SECONDS)

    def _require_wanted(self, entry: ModelEntry, orders: int) -> None:
        """Whether nobody has unloaded the model since there were so many orders to."""
        if entry.unload_orders != orders:
            raise load_error("cancelled", f"model {entry.id!r} was unloaded meanwhile")

    def _require_usable(self, entry: ModelEntry) -> None:
        self._require_open()
        if entry.state in _OUT and entry.file.broken:
            detail = f"model {entry.id!r}: {entry.file.broken}"
            raise load_error(entry.file.reason or "corrupt_file", detail)

    def _require_return(self, entry: ModelEntry) -> None:
        """Requests wait for a model that goes only to come back, or to make room."""
        drain = entry.draining
        if drain is not None and drain.reason in (UnloadReason.REQUESTED, UnloadReason.SHUTDOWN):
            raise UnavailableError(
                f"model {entry.id!r} is being unloaded",
                code="model_draining",
                retry_after=_RETRY_SECONDS,
            )

    def _require_startable(self, entry: ModelEntry) -> None:
        """Whether a request may start the model by itself."""
        has_crashed = entry.failure is not None and entry.failure.reason == "crashed"
        if error := unsupported_cpu_error(entry):
            raise error
        if entry.guard.is_looping:
            raise crash_loop_error(entry)
        if entry.guard.wait_seconds > _BACK_OFF_PATIENCE_SECONDS:
            raise UnavailableError(
                f"model {entry.id!r} has crashed {entry.guard.crashes} times and is started again "
                f"only in {entry.guard.wait_seconds:.0f} s",
                code="crash_back_off",
                retry_after=math.ceil(entry.guard.wait_seconds),
            )
        if not self._autoload and not has_crashed:
            raise StateConflictError(
                f"model {entry.id!r} is not loaded, and this server loads models only when told: "
                f"POST /api/v2/models/{entry.id}/load",
                code="model_not_loaded",
            )
