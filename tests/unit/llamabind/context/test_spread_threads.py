"""Compute threads start on CPUs of their own, and may use all CPUs afterwards. Linux only."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from llamabind.context.spread_threads import spread_threads

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems move no threads")


@contextmanager
def _sleepers(n: int) -> Iterator[list[int]]:
    """Ids of `n` threads that wait until the block ends."""
    end = threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(n)]
    try:
        for thread in threads:
            thread.start()
        yield [thread.native_id or 0 for thread in threads]
    finally:
        end.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def moves(monkeypatch) -> list[tuple[int, set[int]]]:
    """The calls of sched_setaffinity on a machine with 4 CPUs, the caller on CPU 2 of them."""
    found: list[tuple[int, set[int]]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(os, "sched_setaffinity", lambda *move: found.append(move))
    monkeypatch.setattr(
        "llamabind.context.spread_threads._OWN_STAT", _Stat("7 (a ) b) S" + " 0" * 35 + " 2 0 0")
    )
    return found


class _Stat:
    def __init__(self, text: str) -> None:
        self._text = text

    def read_text(self) -> str:
        return self._text


def test_each_new_thread_gets_another_cpu_and_may_then_use_all(moves):
    with _sleepers(1), ExitStack() as stack, spread_threads(4):
        ids = stack.enter_context(_sleepers(3))
    expected = zip(sorted(ids), (0, 1, 3), strict=True)
    assert moves == [move for id_, cpu in expected for move in ((id_, {cpu}), (id_, {0, 1, 2, 3}))]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_nothing_is_moved_while_cpus_are_left(moves, n_threads):
    with ExitStack() as stack, spread_threads(n_threads):
        stack.enter_context(_sleepers(n_threads))
    assert moves == []


def test_threads_keep_their_cpus_and_a_system_that_refuses_is_ignored(monkeypatch):
    before = os.sched_getaffinity(0)
    with ExitStack() as stack:
        with spread_threads(len(before)):
            ids = stack.enter_context(_sleepers(2))
        assert [os.sched_getaffinity(id_) for id_ in ids] == [before] * 2

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    with ExitStack() as stack, spread_threads(len(before)):
        stack.enter_context(_sleepers(2))
