"""StepCost: a line fitted to noisy steps."""

from __future__ import annotations

import random

import pytest

from llamabind.speculation.step_cost import StepCost


def _learn(cost: StepCost, sizes: list[int], base: float, per_token: float) -> None:
    for n in sizes:
        cost.observe(n, base + per_token * n)


def test_steps_of_several_sizes_give_the_base_and_the_cost_of_a_token():
    cost = StepCost()
    _learn(cost, [1, 4, 2, 8, 1, 5, 3, 8] * 20, base=0.010, per_token=0.002)
    assert cost.base == pytest.approx(0.010, rel=0.05)
    assert cost.per_token == pytest.approx(0.002, rel=0.05)


def test_steps_of_one_size_give_only_their_total_cost():
    cost = StepCost()
    _learn(cost, [4] * 50, base=0.010, per_token=0.002)
    assert cost.base + 4 * cost.per_token == pytest.approx(0.018)


def test_the_cost_follows_a_machine_that_becomes_slower():
    cost = StepCost()
    _learn(cost, [1, 8] * 50, base=0.010, per_token=0.001)
    _learn(cost, [1, 8] * 100, base=0.030, per_token=0.003)
    assert cost.per_token == pytest.approx(0.003, rel=0.1)


def test_one_interrupted_step_changes_the_cost_little():
    cost = StepCost()
    _learn(cost, [1, 8] * 50, base=0.010, per_token=0.001)
    cost.observe(8, 5.0)
    assert cost.per_token < 0.002


def test_noise_never_makes_the_cost_of_a_token_negative():
    cost = StepCost()
    noise = random.Random(1)
    for _ in range(200):
        n = noise.randint(1, 4)
        cost.observe(n, 0.01 - 0.001 * n + noise.random() * 0.001)
        assert cost.per_token >= 0
        assert cost.base >= 0
