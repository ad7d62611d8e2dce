"""scripts/profile_step: the clock of the phases, without a model."""

import time

import pytest
from stepprofile.phases import PhaseClock


class _Engine:
    """A step of 40 ms, of which 30 ms are a decode inside it."""

    def step(self) -> str:
        time.sleep(0.01)
        self.decode()
        return "outputs"

    def decode(self) -> None:
        time.sleep(0.03)


def _watched() -> tuple[PhaseClock, _Engine]:
    clock, engine = PhaseClock(), _Engine()
    clock.watch(engine, "step", "other")
    clock.watch(engine, "decode", "decode")
    return clock, engine


def test_the_time_of_an_inner_phase_is_not_part_of_the_outer_one():
    clock, engine = _watched()
    assert engine.step() == "outputs"
    assert clock.wall["decode"] >= 0.03
    assert clock.wall["other"] >= 0.01
    total = sum(clock.wall.values())
    started = time.perf_counter()
    engine.step()
    elapsed = time.perf_counter() - started
    assert sum(clock.wall.values()) - total <= elapsed


def test_sleep_takes_no_cpu_time():
    clock, engine = _watched()
    engine.step()
    assert sum(clock.cpu.values()) < sum(clock.wall.values()) / 2


def test_a_phase_that_raises_ends():
    clock = PhaseClock()

    def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        clock.timed("decode", fail)()
    before = dict(clock.wall)
    time.sleep(0.01)
    clock.timed("other", lambda: None)()
    assert clock.wall["decode"] == before["decode"]
