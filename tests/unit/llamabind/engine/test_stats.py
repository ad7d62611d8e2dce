"""StepMeter: averages that follow the steps and do not change while the engine is idle."""

from __future__ import annotations

import pytest

from llamabind.engine.stats import StepMeter, StepRates
from tests.support.engine_driver import make_engine, make_request, run, submit


def test_a_step_without_tokens_is_not_counted():
    meter = StepMeter()
    assert meter.add(0.5, 0, 0) == StepRates(0.0, 0.0, 0.0)
    rates = meter.add(0.5, 100, 0)
    assert meter.add(0.001, 0, 0) == rates


def test_equal_steps_give_their_own_figures():
    meter = StepMeter()
    rates = [meter.add(0.5, 100, 4) for _ in range(3)]
    assert rates[-1].step_seconds == pytest.approx(0.5)
    assert rates[-1].prompt_tokens_per_second == pytest.approx(200)
    assert rates[-1].generated_tokens_per_second == pytest.approx(8)


def test_old_steps_lose_their_weight():
    meter = StepMeter(window=10.0)
    for _ in range(100):
        meter.add(1.0, 1000, 0)
    rates = [meter.add(0.1, 0, 1) for _ in range(1000)]
    # After ten seconds of computing, older steps have a third of their weight.
    assert rates[99].prompt_tokens_per_second == pytest.approx(1000 / 2.718, rel=0.1)
    assert rates[-1].prompt_tokens_per_second < 1
    assert rates[-1].generated_tokens_per_second == pytest.approx(10, rel=0.01)
    assert rates[-1].step_seconds == pytest.approx(0.1, rel=0.01)


def test_steps_of_zero_seconds_do_not_divide_by_zero():
    assert StepMeter().add(0.0, 10, 1) == StepRates()


def test_an_engines_snapshot_has_the_rates_of_its_steps():
    seconds = 0.0
    engine, runner = make_engine(n_batch=10, clock=lambda: seconds)
    compute = runner.run

    def run_slowly(plan):
        nonlocal seconds
        seconds += 0.1
        return compute(plan)

    runner.run = run_slowly  # type: ignore[method-assign]
    submit(engine, make_request("a", list(range(1, 21)), max_tokens=4))
    run(engine)
    # Two steps for the prompt, the second of which samples the first token, and three for the rest.
    rates = engine.stats.rates
    assert rates.step_seconds == pytest.approx(0.1)
    assert rates.prompt_tokens_per_second == pytest.approx(20 / 0.5, rel=0.05)
    assert rates.generated_tokens_per_second == pytest.approx(4 / 0.5, rel=0.05)
    seconds += 1000
    assert engine.stats.rates == rates
