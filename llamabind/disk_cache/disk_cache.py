"""DiskCache: keeps the prefixes of an engine in files for later processes."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from llamabind.disk_cache.reader import ReaderThread
from llamabind.disk_cache.store import PrefixStore
from llamabind.disk_cache.writer import WriterThread

if TYPE_CHECKING:
    from llamabind.engine.engine import Engine
    from llamabind.engine.thread import EngineThread
    from llamabind.system.file_fingerprint import FileStamp

logger = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 10.0
"""Time limit for writing prefixes before a process ends."""


class DiskCache:
    """The threads that read and write the files of one engine. Any thread. Closed before it."""

    def __init__(
        self, engine: Engine, thread: EngineThread[Engine], projector: FileStamp | None = None
    ) -> None:
        """Begin to open the directory of `EngineConfig.cache_dir`; returns at once."""
        make_store = partial(PrefixStore, engine, thread, projector)
        self._reader = ReaderThread(engine, thread, make_store)
        self._writer = WriterThread(thread, lambda: self._reader.store)
        self._is_closed = False
        self._reader.start()
        self._writer.start()

    @property
    def n_bytes(self) -> int:
        """The size in bytes of the files of this model and these settings."""
        store = self._reader.store
        return 0 if store is None else store.index.n_bytes

    @property
    def n_reads(self) -> int:
        """The number of files read since the load."""
        return self._reader.n_reads

    @property
    def n_writes(self) -> int:
        """The number of files written since the load."""
        return self._writer.n_writes

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write the prefixes that are in no file yet; start no new file after `seconds`.

        The engine must run, and its requests should have ended: the prefix of a running one is not
        written. A second call does nothing.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._reader.close()
        self._writer.close(seconds)
        if self._reader.join(seconds) and self._reader.store is not None:
            self._reader.store.close()


def open_disk_cache(
    engine: Engine, thread: EngineThread[Engine], projector: FileStamp | None = None
) -> DiskCache | None:
    """Return the DiskCache of an engine that was loaded with a `cache_dir`; None without one."""
    if engine.config.cache_dir is None:
        return None
    if engine.shape.cache_ram_bytes == 0:
        logger.warning("cache_dir: prefixes are not kept in files, since cache_ram is 0; raise it")
        return None
    return DiskCache(engine, thread, projector)
