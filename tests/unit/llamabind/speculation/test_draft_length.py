"""Draft lengths: as many tokens as raise the tokens per second."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamabind.speculation.draft_length import AcceptanceRate, DraftOffer, choose_lengths
from llamabind.speculation.step_cost import StepCost


def _cost(base: float, per_token: float) -> StepCost:
    cost = StepCost()
    for n in [1, 8, 3, 16] * 50:
        cost.observe(n, base + per_token * n)
    return cost


MEMORY_BOUND = _cost(0.050, 0.001)
ARITHMETIC_BOUND = _cost(0.001, 0.010)


def test_a_single_sequence_with_a_high_acceptance_rate_gets_a_long_draft():
    [length] = choose_lengths([DraftOffer(0.9, 48)], 1, 64, MEMORY_BOUND, 0.0)
    assert 10 < length <= 48


def test_a_low_acceptance_rate_gives_short_drafts_or_none():
    [often_wrong] = choose_lengths([DraftOffer(0.3, 48)], 1, 64, MEMORY_BOUND, 0.0)
    [always_wrong] = choose_lengths([DraftOffer(0.01, 48)], 1, 64, MEMORY_BOUND, 0.0)
    assert 1 <= often_wrong <= 4
    assert always_wrong == 0


def test_without_spare_arithmetic_likely_draft_tokens_do_not_pay():
    assert choose_lengths([DraftOffer(0.6, 48)], 1, 64, ARITHMETIC_BOUND, 0.0) == [0]


def test_drafts_are_shorter_with_many_sequences():
    alone = choose_lengths([DraftOffer(0.7, 48)], 1, 64, MEMORY_BOUND, 0.0)
    together = choose_lengths([DraftOffer(0.7, 48)] * 32, 32, 64, MEMORY_BOUND, 0.0)
    assert max(together) < alone[0]


def test_a_slow_draft_model_gives_shorter_drafts():
    free = choose_lengths([DraftOffer(0.7, 48)], 1, 64, MEMORY_BOUND, 0.0)
    slow = choose_lengths([DraftOffer(0.7, 48)], 1, 64, MEMORY_BOUND, 0.020)
    dearer_than_the_model = choose_lengths([DraftOffer(0.7, 48)], 1, 64, MEMORY_BOUND, 0.060)
    assert free[0] > slow[0] > 0
    assert dearer_than_the_model == [0]


@given(
    offers=st.lists(st.builds(DraftOffer, st.floats(0.0, 0.98), st.integers(-1, 50)), max_size=20),
    n_most=st.integers(0, 80),
)
def test_limits_are_kept_and_a_higher_acceptance_rate_gives_no_shorter_draft(offers, n_most):
    lengths = choose_lengths(offers, max(len(offers), 1), n_most, MEMORY_BOUND, 0.0)
    assert sum(lengths) <= n_most
    for offer, length in zip(offers, lengths, strict=True):
        assert 0 <= length <= max(offer.limit, 0)


def test_the_rate_follows_the_latest_results():
    rate = AcceptanceRate()
    assert rate.estimate(prior=0.6) == pytest.approx(0.6)
    for _ in range(10):
        rate.observe(n_drafted=4, n_accepted=4)
    assert rate.estimate(prior=0.6) > 0.9
    for _ in range(20):
        rate.observe(n_drafted=4, n_accepted=0)
    assert rate.estimate(prior=0.6) < 0.25


def test_tokens_after_a_rejected_one_do_not_count():
    half, all_wrong = AcceptanceRate(), AcceptanceRate()
    half.observe(n_drafted=8, n_accepted=4)
    all_wrong.observe(n_drafted=8, n_accepted=0)
    assert half.estimate(prior=0.5) > 0.6
    assert all_wrong.estimate(prior=0.5) == pytest.approx(1 / 3)
