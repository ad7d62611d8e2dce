"""ModelUnloader: drains models, then ends their worker processes."""

import asyncio
import contextlib
import logging

from server.models.entry import Drain, ModelEntry
from server.models.state import UnloadReason

logger = logging.getLogger(__name__)
# Not requested by a client: running answers may take as long as they need.
_WITHOUT_LIMIT = frozenset({UnloadReason.EVICTED, UnloadReason.IDLE})


class ModelUnloader:
    """Drains: no new leases, running answers finish, the process ends. Event loop only."""

    def __init__(self, drain_seconds: float) -> None:
        self._drain_seconds = drain_seconds

    def begin(self, entry: ModelEntry, reason: UnloadReason, *, force: bool = False) -> Drain:
        """Start to drain a loaded model, or join the drain in progress.

        Running answers are cut off after `drain_seconds`, with `force` at once. Evictions and idle
        unloads have no limit, unless a later call with another reason sets it.
        """
        drain = entry.draining
        if drain is None:
            cut = asyncio.Event()
            task = asyncio.create_task(self._run(entry, reason, cut))
            drain = Drain(reason, task, cut)
            entry.drain(drain)
        elif reason is UnloadReason.REQUESTED and drain.reason is UnloadReason.RELOAD:
            drain.reason = reason
        elif reason not in _WITHOUT_LIMIT and drain.reason in _WITHOUT_LIMIT:
            drain.reason = reason
            asyncio.get_running_loop().call_later(self._drain_seconds, drain.cut.set)
        if force:
            drain.cut.set()
        return drain

    async def unload(self, entry: ModelEntry, reason: UnloadReason, *, force: bool = False) -> None:
        """Drain and wait for the end; cancelling the wait does not stop the drain."""
        drain = self.begin(entry, reason, force=force)
        await asyncio.shield(drain.task)

    async def _run(self, entry: ModelEntry, reason: UnloadReason, cut: asyncio.Event) -> None:
        worker = entry.worker
        limit = None if reason in _WITHOUT_LIMIT else self._drain_seconds
        ends = {asyncio.ensure_future(entry.leases.wait_idle()), asyncio.ensure_future(cut.wait())}
        try:
            await asyncio.wait(ends, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        if entry.leases.n_requests:
            logger.warning(
                "model %s: cutting off %d running requests", entry.id, entry.leases.n_requests
            )
        await worker.stop()
        drain, entry.draining = entry.draining, None
        # After a crash during the drain the entry has failed already.
        if drain is not None and entry.is_held_by(worker):
            entry.detach(drain.reason)
            logger.info("model %s: unloaded (%s)", entry.id, drain.reason)

    async def cancel_load(self, entry: ModelEntry) -> None:
        """Cancel a load, queued or running; returns when its process has ended."""
        if entry.loading is not None:
            entry.loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({entry.loading})
