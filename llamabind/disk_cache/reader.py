"""ReaderThread: reads prefixes for new requests, and after a load the most recently used ones."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from llamabind.errors import EngineStoppedError
from llamabind.kv_cache.executor import has_free_memory

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

    from llamabind.disk_cache.index import PrefixEntry
    from llamabind.disk_cache.store import PrefixStore
    from llamabind.engine.engine import Engine
    from llamabind.engine.thread import EngineThread
    from llamabind.kv_cache.slot import Adapters

logger = logging.getLogger(__name__)

_LONGEST_READ: Final = 10.0
"""Seconds after which a request computes its prompt rather than waiting for a slow disk."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    request_id: str
    tokens: array[int]
    adapters: Adapters


class ReaderThread:
    """A PrefixSource. The thread first opens the store; requests that arrive meanwhile wait."""

    def __init__(
        self, engine: Engine, thread: EngineThread[Engine], make_store: Callable[[], PrefixStore]
    ) -> None:
        """`make_store` is called on the new thread; it may raise OSError."""
        self._engine = engine
        self._thread = thread
        self._make_store = make_store
        self._queue: SimpleQueue[_Wanted | None] = SimpleQueue()
        self._timers: dict[str, threading.Timer] = {}
        self._is_closing = False
        self._is_open = threading.Event()
        self.store: PrefixStore | None = None
        self.n_reads = 0
        self._reader = threading.Thread(target=self._run, name="prefix reader", daemon=True)
        engine.prefix_reads.source = self

    def start(self) -> None:
        """Start the thread."""
        self._reader.start()

    def begin_read(self, request_id: str, tokens: array[int], adapters: Adapters) -> bool:
        """As PrefixSource's. Engine thread."""
        if self._is_closing or (self._is_open.is_set() and not self._find(tokens, adapters)):
            return False
        self._queue.put(_Wanted(request_id, tokens[:], adapters))
        timer = threading.Timer(_LONGEST_READ, self._admit, [request_id])
        timer.daemon = True
        self._timers[request_id] = timer
        timer.start()
        return True

    def close(self) -> None:
        """Read no more. Requests that wait are admitted; the thread ends after its current read."""
        self._is_closing = True
        self._queue.put(None)

    def join(self, seconds: float) -> bool:
        """Wait for the end of the thread; False if it has not ended within `seconds`."""
        self._reader.join(seconds)
        return not self._reader.is_alive()

    def _find(self, tokens: array[int], adapters: Adapters) -> tuple[PrefixEntry, ...]:
        return () if self.store is None else self.store.exchange.find(tokens, adapters)

    def _run(self) -> None:
        try:
            self.store = self._make_store()
            self._is_open.set()
            self._read_latest(self.store)
            while (wanted := self._queue.get()) is not None:
                self._serve(wanted)
        except EngineStoppedError:
            pass
        except OSError as error:
            logger.warning("cache_dir: prefixes are not kept in files: %s", error)
            self._give_up()
        except Exception:
            # A fault of the cache must not end the process, as a fault of the engine would.
            logger.exception("cache_dir: internal error, prefixes are not kept in files any more")
            self._give_up()

    def _give_up(self) -> None:
        """Let all requests compute their prompts; WriterThread writes nothing without a store."""
        self.store = None
        self._is_closing = True
        self._is_open.set()
        self._queue.put(None)
        while (wanted := self._queue.get()) is not None:
            self._admit(wanted.request_id)

    def _read_latest(self, store: PrefixStore) -> None:
        """Fill empty slots with the prefixes that were used last, while no request runs."""
        scales = self._engine.adapter_scales
        for entry in store.latest(scales):
            self._serve_waiting()
            has_room = self._thread.call(partial(_has_room, store, entry))
            if self._is_closing or not has_room.result():
                return
            self._read(store, entry, scales if any(scales) else (), evicts=False)

    def _serve_waiting(self) -> None:
        """Serve the requests that have arrived meanwhile."""
        with suppress(Empty):
            while not self._is_closing:
                wanted = self._queue.get_nowait()
                if wanted is not None:
                    self._serve(wanted)

    def _serve(self, wanted: _Wanted) -> None:
        """Read what a request needs, then admit it."""
        try:
            if self.store is not None and not self._is_closing:
                # Searched again, since an earlier read may have loaded the same prefix.
                found = self._thread.call(lambda _: self._find(wanted.tokens, wanted.adapters))
                for entry in found.result():
                    self._read(self.store, entry, wanted.adapters, evicts=True)
        finally:
            self._admit(wanted.request_id)

    def _read(
        self, store: PrefixStore, entry: PrefixEntry, adapters: Adapters, *, evicts: bool
    ) -> None:
        state = store.read(entry) if has_free_memory(entry.n_bytes) else None
        if state is None:
            return
        adopted = self._thread.call(
            lambda _: store.exchange.adopt(entry, state, adapters, evicts=evicts)
        )
        self.n_reads += 1
        if not adopted.result():
            store.discard(entry)

    def _admit(self, request_id: str) -> None:
        timer = self._timers.pop(request_id, None)
        if timer is not None:
            timer.cancel()
        # A stopped engine has ended all requests.
        with suppress(EngineStoppedError):
            self._thread.call(lambda engine: engine.admit_read(request_id))


def _has_room(store: PrefixStore, entry: PrefixEntry, _: Engine) -> bool:
    return store.exchange.has_room(entry)
