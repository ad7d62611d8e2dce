"""Lane: threads that process messages, so that one message that takes long delays no others."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_PATIENCE_SECONDS = 0.25

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Item(Generic[T]):
    """A message, its caller, and when it was queued and when a thread took it."""

    message: T
    caller: str
    queued_at: float = field(default_factory=time.monotonic)
    taken_at: float = 0.0


class Lane(Generic[T]):
    """A queue with one thread, and up to `n_threads` while messages take long. Any thread.

    Callers take turns. If a message takes longer than a quarter of a second while others wait, a
    further thread takes these. One caller holds at most half of the threads that way: its further
    messages wait, those of others do not.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[T], None],
        n_threads: int,
        is_wanted: Callable[[T], bool] = lambda _: True,
    ) -> None:
        """`is_wanted` says whether the client of a message still waits for it."""
        self._name = name
        self._work = work
        self._n_most = n_threads
        self._n_of_caller = max(1, n_threads // 2)
        self._is_wanted = is_wanted
        self._queues: OrderedDict[str, deque[_Item[T]]] = OrderedDict()
        self._taken: set[_Item[T]] = set()
        self._changed = threading.Condition()
        self._n_threads = 0
        self._progressed_at = time.monotonic()
        self._start_thread()
        if n_threads > 1:
            self._spawn(self._watch, f"{name} watch")

    def put(self, message: T, caller: str = "") -> None:
        """Queue a message."""
        with self._changed:
            self._queues.setdefault(caller, deque()).append(_Item(message, caller))
            self._changed.notify_all()

    @property
    def stalled_seconds(self) -> float:
        """Seconds without a completed message while a client waits for one; 0 if none waits."""
        with self._changed:
            queued = [item for queue in self._queues.values() for item in queue]
            items = [item for item in (*queued, *self._taken) if self._is_wanted(item.message)]
            if not items:
                return 0.0
            since = min(item.queued_at for item in items)
            return time.monotonic() - max(since, self._progressed_at)

    def _run(self) -> None:
        while True:
            with self._changed:
                while (item := self._take()) is None:
                    self._changed.wait()
            try:
                self._work(item.message)
            finally:
                with self._changed:
                    self._taken.remove(item)
                    self._progressed_at = time.monotonic()
                    self._changed.notify_all()

    def _take(self) -> _Item[T] | None:
        for caller, queue in self._queues.items():
            if self._n_overdue(caller) >= self._n_of_caller and self._n_most > 1:
                continue
            item = queue.popleft()
            if queue:
                self._queues.move_to_end(caller)
            else:
                del self._queues[caller]
            item.taken_at = time.monotonic()
            self._taken.add(item)
            return item
        return None

    def _n_overdue(self, caller: str | None = None) -> int:
        """The number of messages that take long, of one caller or of all."""
        limit = time.monotonic() - _PATIENCE_SECONDS
        return sum(item.taken_at <= limit and caller in (None, item.caller) for item in self._taken)

    def _watch(self) -> None:
        """Start a thread whenever messages wait and all threads are busy for long."""
        while True:
            with self._changed:
                while not self._queues:
                    self._changed.wait()
                if self._n_threads < self._n_most and self._n_overdue() >= self._n_threads:
                    self._start_thread()
            time.sleep(_PATIENCE_SECONDS)

    def _start_thread(self) -> None:
        self._n_threads += 1
        self._spawn(self._run, self._name)

    def _spawn(self, target: Callable[[], None], name: str) -> None:
        threading.Thread(target=target, name=name, daemon=True).start()
