"""ModelUnloader: takes models out of memory in an orderly way."""

import asyncio
import contextlib
import logging

from server.models.entry import Drain, ModelEntry
from server.models.state import UnloadReason

logger = logging.getLogger(__name__)
# Nobody asked for these: the answers that run have all the time they need.
_UNHURRIED = frozenset({UnloadReason.EVICTED, UnloadReason.IDLE})


class ModelUnloader:
    """Drains models: no new requests, running answers finish, then the process ends. Loop only."""

    def __init__(self, drain_seconds: float) -> None:
        self._drain_seconds = drain_seconds

    def begin(self, entry: ModelEntry, reason: UnloadReason, *, force: bool = False) -> Drain:
        """Start to drain a loaded model, or join the drain that runs.

        Answers are cut off after the limit, with `force` at once; those of a drain that nobody
        asked for (evicted, idle) never, unless a later call asks.
        """
        drain = entry.draining
        if drain is None:
            cut = asyncio.Event()
            task = asyncio.create_task(self._run(entry, reason, cut))
            drain = Drain(reason, task, cut)
            entry.drain(drain)
        elif reason is UnloadReason.REQUESTED and drain.reason is UnloadReason.RELOAD:
            drain.reason = reason
        elif reason not in _UNHURRIED and drain.reason in _UNHURRIED:
            drain.reason = reason
            asyncio.get_running_loop().call_later(self._drain_seconds, drain.cut.set)
        if force:
            drain.cut.set()
        return drain

    async def unload(self, entry: ModelEntry, reason: UnloadReason, *, force: bool = False) -> None:
        """Drain and wait for the end; leaving does not stop it."""
        drain = self.begin(entry, reason, force=force)
        await asyncio.shield(drain.task)

    async def _run(self, entry: ModelEntry, reason: UnloadReason, cut: asyncio.Event) -> None:
        worker = entry.worker
        limit = None if reason in _UNHURRIED else self._drain_seconds
        ends = {asyncio.ensure_future(entry.wait_idle()), asyncio.ensure_future(cut.wait())}
        try:
            await asyncio.wait(ends, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        if entry.n_requests:
            logger.warning("model %s: %d requests are cut off", entry.id, entry.n_requests)
        await worker.stop()
        drain, entry.draining = entry.draining, None
        # A crash while it drained has detached it already, with its reason.
        if drain is not None and entry.is_held_by(worker):
            entry.detach(drain.reason)
            logger.info("model %s: unloaded (%s)", entry.id, drain.reason)

    async def cancel_load(self, entry: ModelEntry) -> None:
        """End a load that runs or waits; returns when its process is gone."""
        if entry.loading is not None:
            entry.loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({entry.loading})
