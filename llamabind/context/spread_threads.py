"""spread_threads: starts native compute threads on CPUs of their own; pure Python, Linux only."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_TASKS: Final = Path("/proc/self/task")
_OWN_STAT: Final = Path("/proc/thread-self/stat")
# The field "processor" of proc(5), counted from the field after the name.
_PROCESSOR: Final = 36


@contextmanager
def spread_threads(n_threads: int) -> Iterator[None]:
    """Move the threads that start in this block, each to a CPU without another one of them.

    `n_threads` counts the calling thread; it stays where it is. Nothing is moved if there are more
    CPUs, since the system then finds idle ones. Compute threads wait for each other by spinning.
    On a busy machine a new thread often starts on the CPU of the thread that waits for it, and the
    system takes 50 to 200 ms to move it. The threads may use all their CPUs again afterwards.
    """
    cpus = _cpus()
    if not 1 < len(cpus) <= n_threads:
        yield
        return
    before = _threads()
    yield
    with suppress(OSError, ValueError, IndexError):
        here = int(_OWN_STAT.read_text().rpartition(")")[2].split()[_PROCESSOR])
        for thread, cpu in zip(sorted(_threads() - before), sorted(cpus - {here}), strict=False):
            allowed = os.sched_getaffinity(thread)
            try:
                os.sched_setaffinity(thread, {cpu})
            finally:
                os.sched_setaffinity(thread, allowed)


def _cpus() -> set[int]:
    """The CPUs of this thread; none where threads cannot be moved."""
    return os.sched_getaffinity(0) if sys.platform == "linux" else set()


def _threads() -> set[int]:
    """The ids of this process's threads."""
    try:
        return {int(task.name) for task in _TASKS.iterdir()}
    except OSError:
        return set()
