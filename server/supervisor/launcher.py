"""WorkerLauncher: starts a worker process and loads a model in it."""

import asyncio
import math
from pathlib import Path

from llamabind.errors import InvalidParameterError
from server.catalogue.companion_files import CompanionFiles
from server.protocol.load_settings import LoadSettings
from server.protocol.loading import Devices, Estimated, Load, PrefixFiles
from server.supervisor.client import WorkerClient
from server.supervisor.interface import LoadFailedError, ProgressCallback
from server.supervisor.pool import WorkerPool

_LOCAL = Devices()


class WorkerLauncher:
    """Starts worker processes that load a model: the WorkerStarter outside of tests."""

    def __init__(
        self,
        pool: WorkerPool,
        load_timeout: float,
        files: CompanionFiles,
        devices: Devices = _LOCAL,
        silence_seconds: float = math.inf,
        prefix_files: PrefixFiles | None = None,
    ) -> None:
        """`silence_seconds`: see WorkerClient; `prefix_files`: see Load."""
        self._pool = pool
        self._load_timeout = load_timeout
        self._files = files
        self._devices = devices
        self._silence_seconds = silence_seconds
        self._prefix_files = prefix_files

    async def __call__(
        self,
        name: str,
        path: Path,
        settings: LoadSettings,
        progress: ProgressCallback,
        estimated: Estimated | None = None,
    ) -> WorkerClient:
        """Start a process and load the model. Cancelling ends the process.

        Raises LoadFailedError.
        """
        try:
            files = await asyncio.to_thread(self._files.find, settings)
            process = await self._pool.take(path, name)
        except InvalidParameterError as error:
            raise LoadFailedError.for_setting(error) from None
        except OSError as error:
            raise LoadFailedError(
                "crashed", f"no worker process can be started: {error}"
            ) from error
        client = WorkerClient(process, progress, self._silence_seconds)
        try:
            async with asyncio.timeout(self._load_timeout):
                message = Load(
                    str(path),
                    settings,
                    files,
                    self._devices,
                    estimated=estimated,
                    prefix_files=None if settings.embedding else self._prefix_files,
                )
                await client.load(message)
        except TimeoutError:
            await client.stop()
            detail = f"the load took longer than {self._load_timeout:g} seconds"
            raise LoadFailedError("timeout", detail, process.log_tail) from None
        except BaseException:
            await client.stop()
            raise
        return client
