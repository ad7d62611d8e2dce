"""WorkerEstimator: estimates the memory of a load, in worker processes that then load it."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import msgspec

from llamabind.errors import InvalidParameterError
from llamabind.system.host_memory import host_memory
from server.catalogue.companion_files import CompanionFiles
from server.protocol.default_context import slack
from server.protocol.framing import FrameReader, FramingError, encode_frame
from server.protocol.load_settings import LoadSettings
from server.protocol.loading import (
    DeviceMemory,
    Devices,
    Estimate,
    Estimated,
    HostBudget,
    LoadFailed,
    LoadFiles,
)
from server.protocol.messages import FromEstimator, Hello
from server.supervisor.estimate_store import EstimateStore, key_of
from server.supervisor.interface import LoadFailedError
from server.supervisor.pool import WorkerPool
from server.supervisor.process import WorkerProcess

logger = logging.getLogger(__name__)
_ALL_FREE = HostBudget()
_LOCAL = Devices()
# Each parses a vocabulary, which may temporarily take some hundred MB.
_CONCURRENT = 2


class WorkerEstimator:
    """The Estimator outside of tests; remembers estimates by files and settings. Event loop only.

    Native code parses the file in a separate process with limits on time and memory; the pool keeps
    that process for the load. Free memory is not cached: free host memory is read for each call.
    Free GPU memory can be read only in the worker process, so estimates with GPUs are not cached at
    all.
    """

    def __init__(
        self,
        pool: WorkerPool,
        files: CompanionFiles,
        timeout_seconds: float,
        devices: Devices = _LOCAL,
        store: EstimateStore | None = None,
    ) -> None:
        """`store`: by default one without a file."""
        self._devices = devices
        self._pool = pool
        self._files = files
        self._timeout_seconds = timeout_seconds
        self._store = store or EstimateStore()
        self._slots = asyncio.Semaphore(_CONCURRENT)

    async def __call__(
        self, name: str, path: Path, settings: LoadSettings, host_budget: HostBudget = _ALL_FREE
    ) -> Estimated:
        """The memory of the load, by device. Raises LoadFailedError."""
        try:
            files = await asyncio.to_thread(self._files.find, settings)
        except InvalidParameterError as error:
            raise LoadFailedError.for_setting(error) from None
        key = await asyncio.to_thread(_cache_key, path, settings, files, self._devices)
        known = await self._store.get(key)
        if known is not None:
            answer = await asyncio.to_thread(_refreshed, known)
            # If free memory decides the context size, the size may differ now.
            is_open = settings.has_open_context
            if not is_open or (not answer.is_limited and slack(answer.devices, host_budget) >= 0):
                return answer
        async with self._slots:
            message = Estimate(str(path), settings, files, self._devices, host_budget)
            answer = await self._ask_process(path, name, message)
        if all(device.kind == "host" for device in answer.devices):
            self._store.put(key, answer)
        return answer

    async def _ask_process(self, path: Path, name: str, message: Estimate) -> Estimated:
        try:
            process = await self._pool.take(path, f"{name} (estimate)")
        except OSError as error:
            detail = f"no worker process can be started: {error}"
            raise LoadFailedError("crashed", detail) from error
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await _exchange(process, message)
        except TimeoutError:
            await process.stop()
            detail = f"the estimate took longer than {self._timeout_seconds:g} seconds"
            raise LoadFailedError("timeout", detail, process.log_tail) from None
        except BaseException:
            await process.stop()
            raise
        if self._devices.rpc:
            # The process keeps the devices of RPC servers, also for a load that must not use them.
            await process.stop()
        else:
            self._pool.keep(path, process)
        return answer


async def _exchange(process: WorkerProcess, message: Estimate) -> Estimated:
    """Send the message and return the reply; LoadFailedError if the process ends without one."""
    frames: FrameReader[FromEstimator] = FrameReader(FromEstimator)
    answer: asyncio.Future[Estimated | LoadFailed] = asyncio.get_running_loop().create_future()
    connection = process.connection

    def take(data: bytes) -> None:
        try:
            for reply in frames.feed(data):
                if isinstance(reply, Hello):
                    logger.debug("%s: protocol %d", process.name, reply.protocol_version)
                elif not answer.done():
                    answer.set_result(reply)
        except FramingError as error:
            logger.debug("%s: %s", process.name, error)
            connection.close()

    connection.listen(take)
    connection.write(encode_frame(message))
    either: set[asyncio.Future[Any]] = {answer, connection.closed}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not answer.done():
        end = await process.stop()
        detail = f"while it read the file, the worker process {end.load_description}"
        raise LoadFailedError(end.load_reason, detail, end.log_tail)
    match answer.result():
        case Estimated() as estimated:
            return estimated
        case LoadFailed(reason, detail, param):
            raise LoadFailedError(reason, detail, process.log_tail, param)


def _cache_key(path: Path, settings: LoadSettings, files: LoadFiles, devices: Devices) -> str:
    """A hash of what an estimate depends on: each file's path, size, time and inode, the
    settings, and the devices that the operator allows.
    """
    companions = [*(name for name, _ in files.lora), files.draft_model, files.mmproj]
    paths = [*_shards(path), *(Path(name) for name in companions if name)]
    scales = tuple(scale for _, scale in files.lora)
    return key_of(([_stamp(item) for item in paths], scales, settings.engine, devices))


def _shards(path: Path) -> list[Path]:
    """All files of the model: a change of any shard changes the estimate."""
    stem, separator, _ = path.name.rpartition("-00001-of-")
    return sorted(path.parent.glob(f"{_escaped(stem)}-?????-of-*")) if separator else [path]


def _escaped(text: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in text)


def _stamp(path: Path) -> tuple[str, int, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return str(path), -1, -1, -1
    return str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino


def _refreshed(answer: Estimated) -> Estimated:
    """The estimate with the host memory that is free now."""
    memory = host_memory()

    def refresh(device: DeviceMemory) -> DeviceMemory:
        return msgspec.structs.replace(device, free_bytes=memory.free, total_bytes=memory.total)

    return msgspec.structs.replace(answer, devices=tuple(map(refresh, answer.devices)))
