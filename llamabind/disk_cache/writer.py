"""WriterThread: writes prefixes to files, during operation and before the process ends."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from llamabind.errors import EngineStoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llamabind.disk_cache.store import PrefixStore
    from llamabind.engine.engine import Engine
    from llamabind.engine.slot_file import SlotContent
    from llamabind.engine.thread import EngineThread

logger = logging.getLogger(__name__)

_PERIOD: Final = 1.0
"""Seconds between two checks. An engine is idle if it has computed no step since the last one."""

_PAUSE: Final = 60.0
"""Seconds in which nothing is written after the disk was full or could not be written to."""


class WriterThread:
    """Takes one state at a time from the engine, so that at most one copy is in memory."""

    def __init__(
        self, thread: EngineThread[Engine], store: Callable[[], PrefixStore | None]
    ) -> None:
        """`store` returns None until the store is open."""
        self._thread = thread
        self._store = store
        self._is_closing = threading.Event()
        self._pause_ends = 0.0
        self._has_failed = False
        self.n_writes = 0
        self._writer = threading.Thread(target=self._run, name="prefix writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._writer.start()

    def close(self, seconds: float) -> None:
        """End the thread, then write the prefixes of the retained slots and of the host cache.

        Begins no file after `seconds`. The last used prefixes come first.
        """
        ends = time.monotonic() + seconds
        self._is_closing.set()
        self._writer.join(seconds)
        store = self._store()
        if store is not None and not self._writer.is_alive():
            with _only_logged():
                self._write_all(store, copies=True, ends=ends)

    def _run(self) -> None:
        seen = done = -1
        with _only_logged():
            while not self._is_closing.wait(_PERIOD):
                steps, store = self._thread.stats.steps, self._store()
                is_idle, seen = steps == seen, steps
                if store is None or steps == done or time.monotonic() < self._pause_ends:
                    continue
                self._write_all(store, copies=is_idle)
                if is_idle:
                    done = steps

    def _write_all(self, store: PrefixStore, *, copies: bool, ends: float | None = None) -> None:
        """Write the states that are worth a file; with a deadline `ends`, for the last time."""
        is_last = ends is not None
        while is_last or not self._is_closing.is_set():
            if ends is not None and time.monotonic() >= ends:
                logger.warning("time limit reached: some prefixes are not in files")
                break
            taken = self._thread.call(
                lambda engine: store.exchange.take(
                    copies=copies and not engine.has_work, is_last=is_last
                )
            )
            content = taken.result()
            if content is None or not self._write(store, content):
                break
        store.note_use(self._thread.call(lambda _: store.exchange.take_used()).result())

    def _write(self, store: PrefixStore, content: SlotContent) -> bool:
        """Write a file; False if that failed, which is logged once."""
        try:
            self.n_writes += store.write(content)
        except OSError as error:
            self._pause_ends = time.monotonic() + _PAUSE
            if not self._has_failed:
                self._has_failed = True
                logger.warning("prefixes are not written to files for %g s: %s", _PAUSE, error)
            return False
        self._has_failed = False
        return True


@contextmanager
def _only_logged() -> Iterator[None]:
    """Log an error and end the block: a fault of the cache must not end the process."""
    try:
        yield
    except EngineStoppedError:
        pass
    except Exception:
        logger.exception("cache_dir: internal error, prefixes are not written any more")
