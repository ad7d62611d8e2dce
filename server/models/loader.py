"""ModelLoader: loads models, one load per model at a time, and handles the exit of workers."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from llamabind.errors import is_out_of_memory
from server.errors import ApiError, load_error
from server.models.clock import Clock
from server.models.entry import LoadRequest, ModelEntry
from server.models.event_bus import EventBus
from server.models.events import WorkerCrashed
from server.models.memory_budget import EvictionPlan
from server.models.memory_reserver import MemoryReserver
from server.models.redaction import redact_detail, redact_log
from server.models.state import Failure, UnloadReason
from server.protocol.load_settings import LoadSettings
from server.protocol.loading import Estimated
from server.status import ServerStatus
from server.supervisor.interface import LoadFailedError, Worker, WorkerExit, WorkerStarter

logger = logging.getLogger(__name__)
# Loads compete for disk and memory; more at once only slow each other down.
_CONCURRENT_LOADS = 2
_LOGGED_LINES = 10


class ModelLoader:
    """Loads models in separate tasks, which outlive the requests for them. Event loop only."""

    def __init__(
        self,
        start_worker: WorkerStarter,
        reserver: MemoryReserver,
        status: ServerStatus,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        self._start_worker = start_worker
        self._reserver = reserver
        self._status = status
        self._bus = bus
        self._clock = clock
        self._load_slots = asyncio.Semaphore(_CONCURRENT_LOADS)

    def start(self, entry: ModelEntry, load_request: LoadRequest) -> None:
        """Begin to load a model that is neither in memory nor being loaded.

        If a reload fails, the model is loaded again with its previous settings.
        """
        entry.queue(load_request)
        entry.loading = asyncio.create_task(self._load(entry))
        # Added first, so that it runs before the callbacks of those that wait for the load.
        entry.loading.add_done_callback(lambda task: self._on_load_end(entry, task))

    async def check(self, entry: ModelEntry, settings: LoadSettings) -> None:
        """Raise ApiError if a load with `settings` cannot succeed; changes nothing."""
        with _load_failures_as_api_errors(entry):
            await self._reserver.check(entry, settings)

    async def preview(
        self, entry: ModelEntry, settings: LoadSettings
    ) -> tuple[Estimated, EvictionPlan]:
        """The memory a load would take, and the models to unload for it. Raises ApiError."""
        with _load_failures_as_api_errors(entry):
            return await self._reserver.preview(entry, settings)

    async def join(self, entry: ModelEntry) -> None:
        """Wait for the load in progress; cancelling the wait does not stop it. Raises ApiError."""
        task = entry.loading
        if task is None:
            return
        # Not `await task`: cancelling one caller would cancel the load for all of them.
        await asyncio.wait({task})
        if task.cancelled():
            raise load_error("cancelled", f"the load of {entry.id!r} was cancelled")
        if error := task.exception():
            raise error

    async def _load(self, entry: ModelEntry) -> None:
        """The task of one load, shared by all that wait for it. Raises ApiError."""
        try:
            await self._clock.sleep(entry.guard.wait_seconds)
            try:
                worker = await self._reserve_and_run(entry)
            except LoadFailedError as error:
                if not entry.give_up_projector(entry.load_request, error.param, error.detail):
                    raise
                entry.load_request = entry.load_request_for(entry.load_request.requested)
                logger.warning("model %s: loading without a projector: %s", entry.id, error.detail)
                worker = await self._reserve_and_run(entry)
        except LoadFailedError as error:
            failure = self._fail(
                entry,
                error.reason,
                error.detail,
                error.log_tail,
                param=error.param,
                has_died=error.has_died,
            )
            raise _api_error(entry, failure) from error
        except ApiError as error:
            self._fail(entry, str(error.extra.get("reason", error.code)), error.message)
            raise
        except asyncio.CancelledError:
            entry.detach(UnloadReason.CANCELLED)
            raise
        except Exception as error:
            logger.exception("model %s: internal error while loading", entry.id)
            failure = (
                self._fail(entry, "out_of_memory", f"the server has no host memory left: {error}")
                if is_out_of_memory(error)
                else self._fail(entry, "unknown", f"internal error: {type(error).__name__}")
            )
            raise _api_error(entry, failure) from error
        finally:
            entry.loading = None
        entry.attach(worker)
        worker.exited.add_done_callback(lambda future: self._on_exit(entry, worker, future))
        logger.info("model %s: loaded, process %d", entry.id, worker.pid)

    async def _reserve_and_run(self, entry: ModelEntry) -> Worker:
        estimated = await self._reserver.reserve(entry)
        settings = entry.settings
        if estimated is not None and settings.has_open_context:
            # The worker would choose again, by the memory that is free when it starts.
            settings = msgspec.structs.replace(settings, n_ctx=estimated.n_ctx)
        return await self._run_load(entry, settings, estimated)

    async def _run_load(
        self, entry: ModelEntry, settings: LoadSettings, estimated: Estimated | None
    ) -> Worker:
        async with self._load_slots:
            entry.start_loading()
            return await self._start_worker(
                entry.id, entry.file.path, settings, entry.report_progress, estimated
            )

    def _on_load_end(self, entry: ModelEntry, task: asyncio.Task[None]) -> None:
        # Without this call asyncio logs an error if no caller is left to receive it.
        error = None if task.cancelled() else task.exception()
        if isinstance(error, ApiError) and entry.restore_on_failure:
            entry.restore_on_failure = False
            logger.info(
                "model %s: its reload failed; loading it with the previous settings", entry.id
            )
            self.start(entry, entry.load_request)
            error.message += "; it is being loaded again with its previous settings"
            error.extra["restoring"] = True

    def _on_exit(
        self, entry: ModelEntry, worker: Worker, future: asyncio.Future[WorkerExit]
    ) -> None:
        end = future.result()
        if end.expected or not entry.is_held_by(worker):
            return
        detail = f"the worker process {end.description}"
        self._fail(entry, end.reason, detail, end.log_tail, has_died=True)

    def _fail(
        self,
        entry: ModelEntry,
        reason: str,
        detail: str,
        log_tail: tuple[str, ...] = (),
        *,
        param: str | None = None,
        has_died: bool = False,
    ) -> Failure:
        """Mark the model as failed. The log gets all details; clients get redacted ones."""
        logger.error("model %s: %s: %s", entry.id, reason, detail)
        for line in log_tail[-_LOGGED_LINES:]:
            logger.error("model %s: | %s", entry.id, line)
        path = entry.file.path
        detail = redact_detail(detail, path, entry.id)
        log = redact_log(log_tail, path, entry.id)
        if has_died or reason == "crashed":
            self._bus.publish(WorkerCrashed(model=entry.id, detail=detail, log=log))
        if reason == "crashed":
            # Not for unsupported_cpu: only an explicit load restarts such a model.
            entry.guard.record_crash()
            if entry.guard.is_looping:
                reason, detail = "crash_loop", _loop_detail(entry, detail)
        failure = Failure(reason, detail, log, param)
        entry.fail(failure)
        if param is None and reason != "invalid_parameter":
            # A client's wrong setting must not replace a server failure as `last_error`.
            self._status.record_error(f"model {entry.id}: {reason}: {detail}")
        return failure


@contextmanager
def _load_failures_as_api_errors(entry: ModelEntry) -> Iterator[None]:
    """Turn LoadFailedError into ApiError without marking the model as failed."""
    try:
        yield
    except LoadFailedError as error:
        path = entry.file.path
        detail = redact_detail(error.detail, path, entry.id)
        log = redact_log(error.log_tail, path, entry.id)
        raise _api_error(entry, Failure(error.reason, detail, log, error.param)) from error


def crash_loop_error(entry: ModelEntry) -> ApiError:
    """The error for requests to a model in a crash loop."""
    detail = entry.failure.detail if entry.failure else "it crashed repeatedly"
    return load_error(
        "crash_loop",
        f"model {entry.id!r} is not restarted after repeated crashes: {detail}; "
        f"to try again, POST /api/v2/models/{entry.id}/load",
    )


def unsupported_cpu_error(entry: ModelEntry) -> ApiError | None:
    """The error for a model that this CPU cannot run, where a restart would not help; else None."""
    failure = entry.failure
    if failure is None or failure.reason != "unsupported_cpu":
        return None
    return _api_error(entry, failure)


def _loop_detail(entry: ModelEntry, last: str) -> str:
    guard = entry.guard
    return (
        f"it crashed {guard.crashes} times within {guard.span_seconds:.0f} s without a complete "
        f"answer; last crash: {last}"
    )


def _api_error(entry: ModelEntry, failure: Failure) -> ApiError:
    if failure.reason == "crash_loop":
        return crash_loop_error(entry)
    message = f"model {entry.id!r} cannot be loaded: {failure.detail}"
    error = load_error(failure.reason, message, failure.param)
    error.extra["log"] = list(failure.log_tail)
    return error
