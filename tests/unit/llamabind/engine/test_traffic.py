"""Random traffic made by hypothesis, which reports the smallest failing case."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.random_traffic import Arrival, Sizes, check_traffic, short_is_long_enough


@pytest.fixture(scope="module", autouse=True)
def _short_is_long_enough() -> Iterator[None]:
    with short_is_long_enough(4):
        yield


_ARRIVALS = st.lists(
    st.builds(
        Arrival,
        delay=st.integers(0, 6),
        prompt=st.builds(
            lambda shared, own: [1 + i % 40 for i in range(shared)] + own,
            st.integers(0, 40),
            st.lists(st.integers(1, 255), min_size=1, max_size=12),
        ),
        max_tokens=st.one_of(st.none(), st.integers(0, 20)),
        cancel_after=st.one_of(st.none(), st.integers(0, 12)),
        caller=st.sampled_from(["", "x", "y"]),
        priority=st.integers(0, 1),
        max_queue_seconds=st.sampled_from([None, None, 0.0, 1.0, 30.0]),
        stops=st.booleans(),
        cache_prompt=st.booleans(),
        prompt_logprobs=st.sampled_from([None, None, 0]),
        id_slot=st.one_of(st.none(), st.integers(0, 7)),
        lora=st.sampled_from([None, None, (1.0,), (0.5,)]),
        n_keep=st.sampled_from([0, 3, -1]),
    ),
    min_size=1,
    max_size=10,
)


_SIZES = st.builds(
    Sizes,
    n_ctx=st.integers(56, 120),
    n_parallel=st.integers(1, 6),
    n_retained=st.integers(0, 4),
    n_batch=st.integers(6, 48),
    is_cuttable=st.booleans(),
    kv_unified=st.booleans(),
    cache_ram_bytes=st.sampled_from([0, 40, 150, 10_000]),
    is_checkpoint_partial=st.booleans(),
    wrong_every=st.one_of(st.none(), st.integers(1, 9)),
    # Odd, or with alternating steps it would always be the decode step that is refused.
    refuse_every=st.sampled_from([None, 3, 5, 7, 9]),
    attention_tile=st.one_of(st.none(), st.integers(2, 12)),
    # With the last one a step takes so long that it gets the fewest prompt tokens.
    seconds_per_token=st.sampled_from([0.0, 0.001, 0.1]),
    context_shift=st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(sizes=_SIZES, arrivals=_ARRIVALS)
def test_random_traffic_ends_every_request_once_with_its_own_answer(sizes, arrivals):
    check_traffic(sizes, arrivals)
