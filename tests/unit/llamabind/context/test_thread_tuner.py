"""The tuner finds the fastest thread count of a simulated machine, and follows changes."""

from __future__ import annotations

import random

import pytest

from llamabind.context.thread_tuner import ThreadTuner, thread_counts


def _serve(tuner: ThreadTuner, speed: dict[int, float], n_steps: int, n_tokens: int = 1) -> dict:
    """Run steps on a machine with `speed[n_threads]` tokens per second, give or take a tenth."""
    noise = random.Random(1)
    used = dict.fromkeys(speed, 0)
    for _ in range(n_steps):
        n_threads = tuner.choose(n_tokens)
        used[n_threads] += 1
        tuner.observe(n_tokens, n_tokens / speed[n_threads] * noise.uniform(0.95, 1.05))
    return used


def test_an_idle_machine_keeps_all_cores():
    used = _serve(ThreadTuner(2), {1: 102, 2: 125}, 1000)
    assert used[2] > 900


def test_a_busy_core_is_avoided_within_some_dozens_of_steps():
    tuner = ThreadTuner(2)
    used = _serve(tuner, {1: 102, 2: 74}, 1000)
    assert used[1] > 900
    assert _serve(ThreadTuner(2), {1: 102, 2: 74}, 60)[1] > 30


def test_a_core_that_becomes_busy_is_noticed_within_some_steps():
    tuner = ThreadTuner(2)
    _serve(tuner, {1: 102, 2: 125}, 500)
    assert _serve(tuner, {1: 102, 2: 30}, 20)[1] > 8


def test_it_begins_with_the_calibrated_count():
    tuner = ThreadTuner(4)
    tuner.start_with(1, 2)
    assert (tuner.choose(1), tuner.choose(8), tuner.choose(100)) == (2, 2, 4)


def test_it_uses_all_cores_again_when_they_are_idle():
    tuner = ThreadTuner(2)
    _serve(tuner, {1: 102, 2: 74}, 300)
    assert tuner.choose(1) == 1
    used = _serve(tuner, {1: 102, 2: 125}, 1000)
    assert used[2] > 800


def test_small_and_large_steps_are_tuned_apart():
    tuner = ThreadTuner(4)
    _serve(tuner, {1: 20, 2: 30, 3: 25, 4: 24}, 800, n_tokens=1)
    _serve(tuner, {1: 100, 2: 200, 3: 300, 4: 400}, 800, n_tokens=256)
    chosen = [tuner.choose(1), tuner.choose(256)]
    assert chosen == [2, 4]


def _cost(tuner: ThreadTuner, seconds: dict[int, float], n_steps: int, n_tokens: int) -> float:
    """How much longer than with the best count alone, as a part of it."""
    total = 0.0
    for _ in range(n_steps):
        n_threads = tuner.choose(n_tokens)
        total += seconds[n_threads]
        tuner.observe(n_tokens, seconds[n_threads])
    return total / (n_steps * min(seconds.values())) - 1


@pytest.mark.parametrize(
    ("one_thread", "n_steps", "limit"),
    [(1.9, 64, 0.03), (1.9, 192, 0.02), (1.9, 2000, 0.005), (1.2, 192, 0.01), (1.2, 2000, 0.005)],
)
def test_trials_of_slower_counts_cost_little(one_thread, n_steps, limit):
    tuner = ThreadTuner(2)
    tuner.start_with(16, 2)
    assert _cost(tuner, {1: one_thread, 2: 1.0}, n_steps, 16) <= limit


def test_a_trial_is_reported_as_one():
    tuner = ThreadTuner(2)
    n_trials = 0
    for _ in range(200):
        is_trial = tuner.is_trial(1)
        assert is_trial == (tuner.choose(1) == 1)
        n_trials += is_trial
        tuner.observe(1, 1.0 if is_trial else 0.5)
    assert 0 < n_trials <= 8


def test_one_core_leaves_nothing_to_tune():
    assert _serve(ThreadTuner(1), {1: 50}, 100) == {1: 100}


@pytest.mark.parametrize(
    ("n_max", "counts"),
    [(1, (1,)), (2, (1, 2)), (4, (1, 2, 3, 4)), (16, (1, 2, 3, 4, 6, 8, 12, 15, 16))],
)
def test_the_counts_worth_trying(n_max, counts):
    assert thread_counts(n_max) == counts
