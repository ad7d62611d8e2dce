"""CrashGuard: delays before restarts, and crash loops."""

from server.models.crash_guard import CrashGuard
from tests.support.manual_clock import ManualClock


def test_the_first_crash_adds_no_delay_and_later_ones_double_it() -> None:
    clock = ManualClock()
    guard = CrashGuard(clock)
    delays = []
    for _ in range(4):
        guard.record_crash()
        delays.append(guard.wait_seconds)
        clock.advance(guard.wait_seconds)
    assert delays == [0, 1, 2, 4]
    assert guard.wait_seconds == 0


def test_the_remaining_delay_decreases_with_time() -> None:
    clock = ManualClock()
    guard = CrashGuard(clock)
    for _ in range(3):
        guard.record_crash()
    clock.advance(0.5)
    assert guard.wait_seconds == 1.5


def test_five_crashes_in_a_row_are_a_loop_until_reset() -> None:
    clock = ManualClock()
    guard = CrashGuard(clock)
    for _ in range(5):
        assert not guard.is_looping
        clock.advance(10)
        guard.record_crash()
    assert guard.is_looping
    assert guard.span_seconds == 40
    clock.advance(100_000)
    assert guard.is_looping
    guard.reset()
    assert (guard.is_looping, guard.wait_seconds) == (False, 0)


def test_a_complete_answer_resets_the_count() -> None:
    guard = CrashGuard(ManualClock())
    for _ in range(20):
        guard.record_crash()
        guard.record_answer()
    assert not guard.is_looping
    assert guard.wait_seconds == 0


def test_crashes_far_apart_are_not_a_loop() -> None:
    clock = ManualClock()
    guard = CrashGuard(clock)
    for _ in range(20):
        guard.record_crash()
        clock.advance(301)
    assert not guard.is_looping
    assert guard.crashes == 1
