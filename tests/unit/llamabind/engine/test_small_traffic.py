"""Thousands of small cases of random traffic: few requests, few tokens and very few KV cells."""

from __future__ import annotations

from random import Random

import pytest

from tests.support.random_traffic import Arrival, Sizes, check_traffic, short_is_long_enough

_N_CASES = 3_000
_N_PARTS = 6
_COMMON = [1, 2, 3, 4, 5, 6, 7, 8]
"""The tokens that prompts may begin with."""


def _sizes(random: Random) -> Sizes:
    return Sizes(
        n_ctx=random.randint(18, 30),
        n_parallel=random.randint(1, 3),
        n_retained=random.randint(0, 2),
        n_batch=random.randint(4, 16),
        is_cuttable=random.random() < 0.6,
        kv_unified=random.random() < 0.6,
        cache_ram_bytes=random.choice([0, 12, 40, 1_000]),
        is_checkpoint_partial=random.random() < 0.5,
        wrong_every=random.choice([None, None, 1, 2, 3]),
        refuse_every=random.choice([None, None, 3, 7]),
        attention_tile=random.choice([None, 2, 5]),
        seconds_per_token=random.choice([0.0, 0.001, 0.1]),
    )


def _arrival(random: Random) -> Arrival:
    own = [random.randint(1, 255) for _ in range(random.randint(1, 3))]
    return Arrival(
        delay=random.choice([0, 0, 1, 3]),
        prompt=_COMMON[: random.randint(0, len(_COMMON))] + own,
        max_tokens=random.choice([None, 0, 1, 3, 6]),
        cancel_after=random.choice([None, None, 0, 1, 4]),
        caller=random.choice(["", "x"]),
        priority=random.choice([0, 0, 1]),
        max_queue_seconds=random.choice([None, None, None, 0.0, 0.3]),
        stops=random.random() < 0.2,
        cache_prompt=random.random() < 0.8,
        prompt_logprobs=random.choice([None, None, None, 0]),
        id_slot=random.choice([None, None, 0, 1, 5]),
    )


@pytest.mark.parametrize("part", range(_N_PARTS))
def test_every_request_of_thousands_of_small_cases_ends_correctly(part: int) -> None:
    seeds = range(part, _N_CASES, _N_PARTS)
    with short_is_long_enough(2):
        for seed in seeds:
            random = Random(seed)
            sizes = _sizes(random)
            arrivals = [_arrival(random) for _ in range(random.randint(1, 4))]
            try:
                check_traffic(sizes, arrivals)
            except BaseException as error:
                error.add_note(f"seed {seed}: {sizes}, {arrivals}")
                raise
