"""Messages that take long do not delay those of other callers."""

import operator
import threading
from collections.abc import Callable
from functools import partial

from server.worker.session.lane import Lane


class Work:
    """Messages named "slow..." wait for `release`; the others are done at once."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.done: list[str] = []
        self.changed = threading.Condition()

    def __call__(self, message: str) -> None:
        if message.startswith("slow"):
            self.release.wait()
        with self.changed:
            self.done.append(message)
            self.changed.notify_all()

    def wait_for(self, is_reached: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(is_reached, timeout=60), self.done


def test_a_message_passes_one_that_takes_long() -> None:
    work = Work()
    lane = Lane("test", work, 4)
    lane.put("slow", "a")
    for caller in ("a", "b"):
        lane.put(f"quick {caller}", caller)
    work.wait_for(lambda: len(work.done) == 2)
    work.release.set()
    work.wait_for(lambda: "slow" in work.done)


def test_one_caller_takes_half_of_the_threads_with_messages_that_take_long() -> None:
    work = Work()
    lane = Lane("test", work, 4)
    for number in range(20):
        lane.put(f"slow {number}", "a")
    lane.put("the last of a", "a")
    for number in range(3):
        lane.put(f"b {number}", "b")
        expected = [f"b {i}" for i in range(number + 1)]
        work.wait_for(partial(operator.eq, work.done, expected))
    work.release.set()
    work.wait_for(lambda: len(work.done) == 24)


def test_a_lane_is_stalled_only_while_a_client_waits() -> None:
    work = Work()
    wanted = {"slow"}
    lane = Lane("test", work, 1, lambda message: message in wanted)
    assert lane.stalled_seconds == 0.0
    lane.put("slow")
    lane.put("quick")
    first = lane.stalled_seconds
    assert 0.0 < first < lane.stalled_seconds
    wanted.clear()
    assert lane.stalled_seconds == 0.0, "its client has gone"
    wanted.add("quick")
    assert lane.stalled_seconds > 0.0, "another client waits behind it"
    work.release.set()
    work.wait_for(lambda: len(work.done) == 2)
