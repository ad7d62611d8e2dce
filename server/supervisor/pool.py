"""WorkerPool: worker processes that are ready for their first message, or for the next one."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from server.supervisor.early_worker import EarlyWorker
from server.supervisor.process import WorkerProcess

logger = logging.getLogger(__name__)
_SPARE_SECONDS: Final = 60.0
"""How long the process that was started ahead of need waits for a model."""

_KEPT_SECONDS: Final = 10.0
"""How long a process waits for the load, or the next estimate, of the file that it estimated."""

_MAX_KEPT: Final = 2


class WorkerPool:
    """Starts worker processes, and hands out those that have started already. Event loop only.

    A new interpreter with a worker's imports takes 0.3 s of CPU time. So the server starts one
    worker ahead of need, before its own imports, and a process that has estimated a load goes on to
    load. A process sees one model file only: native code has parsed it, and may have been misled.
    """

    def __init__(
        self, command: Sequence[str], process_type: type[WorkerProcess] = WorkerProcess
    ) -> None:
        """`process_type`: tests start processes in another way."""
        self._command = tuple(command)
        self._process_type = process_type
        self._spare: asyncio.Task[WorkerProcess] | None = None
        self._kept: dict[Path, tuple[WorkerProcess, asyncio.TimerHandle]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    def prepare(self, early: EarlyWorker | None = None) -> None:
        """Keep `early`, or start one process ahead of need; it ends if no model needs it within a
        minute.
        """
        self._spare = asyncio.create_task(self._start_spare(early))
        asyncio.get_running_loop().call_later(_SPARE_SECONDS, self._end_spare, self._spare)

    async def take(self, path: Path, name: str) -> WorkerProcess:
        """A process for the file `path`; the caller must stop or keep it. `name` is for the log.

        Raises OSError when the system refuses to start one.
        """
        process = self._take_kept(path) or await self._take_spare()
        if process is None:
            return await self._start(name)
        process.name = name
        return process

    def keep(self, path: Path, process: WorkerProcess) -> None:
        """Keep a process that is done with an estimate of `path`, for its next message."""
        self._discard(path)
        if self._is_closed:
            self._end(process)
            return
        while len(self._kept) >= _MAX_KEPT:
            self._discard(next(iter(self._kept)))
        loop = asyncio.get_running_loop()
        self._kept[path] = process, loop.call_later(_KEPT_SECONDS, self._discard, path)

    async def close(self) -> None:
        """End all processes that wait here."""
        self._is_closed = True
        if self._spare is not None:
            self._end_spare(self._spare)
        for path in tuple(self._kept):
            self._discard(path)
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _start(self, name: str) -> WorkerProcess:
        return await self._process_type.start(self._command, name)

    async def _start_spare(self, early: EarlyWorker | None) -> WorkerProcess:
        name = "spare worker"
        adopted = None if early is None else await self._process_type.adopt(early, name)
        return adopted or await self._start(name)

    def _take_kept(self, path: Path) -> WorkerProcess | None:
        if path not in self._kept:
            return None
        process, timer = self._kept.pop(path)
        timer.cancel()
        return self._if_alive(process)

    async def _take_spare(self) -> WorkerProcess | None:
        spare, self._spare = self._spare, None
        if spare is None:
            return None
        try:
            return self._if_alive(await spare)
        except OSError as error:
            logger.debug("the spare worker could not be started: %s", error)
            return None

    def _if_alive(self, process: WorkerProcess) -> WorkerProcess | None:
        if not process.connection.closed.done():
            return process
        self._end(process)
        return None

    def _end_spare(self, spare: asyncio.Task[WorkerProcess]) -> None:
        if spare is self._spare:
            self._spare = None
            self._run(self._stop_started(spare))

    def _discard(self, path: Path) -> None:
        if path in self._kept:
            process, timer = self._kept.pop(path)
            timer.cancel()
            self._end(process)

    def _end(self, process: WorkerProcess) -> None:
        self._run(process.stop())

    @staticmethod
    async def _stop_started(spare: asyncio.Task[WorkerProcess]) -> None:
        with contextlib.suppress(OSError):
            await (await spare).stop()

    def _run(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
