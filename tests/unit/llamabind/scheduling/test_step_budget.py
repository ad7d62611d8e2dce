"""StepBudget: the prompt tokens of a step, on simulated devices."""

from collections.abc import Callable

from llamabind.scheduling.step_budget import StepBudget, whole_tiles

Device = Callable[[int], float]


def linear(n_tokens: int) -> float:
    """10 ms for the weights, 2 ms for each token."""
    return 0.01 + 0.002 * n_tokens


def stepped(n_tokens: int) -> float:
    """As ggml's CPU flash attention in a long prompt: from 64 tokens on a token costs half."""
    return 0.01 + (0.005 if n_tokens >= 64 else 0.01) * n_tokens


def settle(
    budget: StepBudget, device: Device, n_decoding: int = 1, steps: int = 20, n_prompts: int = 1
) -> int:
    """Compute long prompts beside `n_decoding` others; return the last step's prompt tokens."""
    for _ in range(5):
        budget.observe(n_decoding, 0, device(n_decoding))
    n = 0
    for _ in range(steps):
        n = budget.n_prompt_tokens(n_decoding, n_prompts)
        budget.observe(n_decoding, n, device(n_decoding + n))
    return n


def test_the_first_step_beside_a_decoding_sequence_is_small() -> None:
    assert StepBudget(2048).n_prompt_tokens(1) == 64


def test_while_nothing_decodes_an_unmeasured_model_gets_the_whole_batch() -> None:
    assert StepBudget(2048).n_prompt_tokens(0) == 2048


def test_while_nothing_decodes_a_slow_model_gets_steps_of_bounded_time() -> None:
    budget = StepBudget(2048)
    budget.observe(0, 2048, 6.0)
    assert budget.n_prompt_tokens(0) == 512
    fast = StepBudget(2048)
    fast.observe(0, 2048, 0.2)
    assert fast.n_prompt_tokens(0) == 2048


def test_on_a_slow_device_steps_keep_the_longest_gap() -> None:
    budget = StepBudget(2048)
    n = settle(budget, linear)
    assert 0.2 <= linear(1 + n) <= 0.25


def test_a_gap_may_be_half_as_long_again_if_more_sequences_prefill_than_decode() -> None:
    alone = settle(StepBudget(2048), linear)
    equal = settle(StepBudget(2048), linear, n_decoding=4, n_prompts=4)
    crowd = settle(StepBudget(2048), linear, n_prompts=3)
    large_crowd = settle(StepBudget(2048), linear, n_prompts=15)
    assert linear(4 + equal) <= 0.25
    assert 1.3 * linear(1 + alone) < linear(1 + crowd) <= 0.375
    assert large_crowd == crowd


def test_on_a_fast_device_the_gap_is_shorter() -> None:
    def fast(n_tokens: int) -> float:
        return linear(n_tokens) / 10

    n = settle(StepBudget(2048), fast)
    assert fast(1 + n) <= 40 * fast(1) < 0.1


def test_a_larger_step_is_taken_if_its_tokens_cost_half() -> None:
    n = settle(StepBudget(2048), stepped, steps=12)  # after 16 steps it tries a smaller one again
    assert 1 + n >= 64
    assert stepped(1 + n) <= 0.25 * 1.6


def test_slow_decode_steps_still_leave_tokens_for_prompts() -> None:
    n = settle(StepBudget(2048), lambda n_tokens: 0.05 * n_tokens, n_decoding=16)
    assert n >= 16


def test_a_step_size_that_was_once_slow_is_tried_again() -> None:
    budget = StepBudget(2048)
    usual = settle(budget, linear)
    budget.observe(1, usual, 5.0)
    assert budget.n_prompt_tokens(1) < usual / 1.5
    assert settle(budget, linear, steps=100) >= usual * 0.9


def tiled(n_tokens: int) -> float:
    """As ggml's CPU flash attention: a tile costs the same however many tokens it has."""
    return 0.01 + 0.15 * -(-n_tokens // 64) if n_tokens >= 64 else 0.01 + 0.005 * n_tokens


def settle_apart(budget: StepBudget, decode_seconds: float, n_prompts: int = 1) -> int:
    """As `settle`, with prompts in steps of their own."""
    budget.observe(4, 0, decode_seconds)
    n = 0
    for _ in range(20):
        n = budget.n_prompt_tokens(4, n_prompts)
        budget.observe(0, n, tiled(n))
    return n


def test_separate_prompt_steps_are_whole_tiles_and_leave_time_for_the_decode_step() -> None:
    assert settle_apart(StepBudget(2048, 0.5, tile=64), 0.03) == 192
    assert settle_apart(StepBudget(2048, 0.5, tile=64), 0.15) == 128
    assert settle_apart(StepBudget(2048, 0.5, tile=64), 0.2) == 64
    assert settle_apart(StepBudget(2048, 0.5, tile=64), 0.03, n_prompts=8) == 256


def test_prompt_steps_are_rounded_down_to_whole_tiles() -> None:
    budget = StepBudget(2048, max_gap=0.25, tile=64)
    # 96 tokens would fit into the gap beside a decode step.
    budget.observe(4, 0, 0.02)
    budget.observe(0, 128, 0.3)
    assert budget.n_prompt_tokens(4) == 64


def test_one_tile_may_take_longer_than_the_gap_since_less_would_be_much_slower() -> None:
    budget = StepBudget(2048, max_gap=0.25, tile=64)
    budget.observe(4, 0, 0.01)
    budget.observe(0, 64, 0.38)
    assert budget.n_prompt_tokens(4) == 64
    budget.observe(0, 64, 0.8)
    assert budget.n_prompt_tokens(4) < 64


def test_steps_grow_by_at_most_a_factor_of_two_beyond_what_was_measured() -> None:
    budget = StepBudget(2048, tile=64)
    budget.observe(1, 0, 0.01)
    budget.observe(0, 64, 0.001)
    largest = 64
    for _ in range(6):
        n = budget.n_prompt_tokens(1)
        assert n < 4 * largest
        largest = max(largest, n)
        budget.observe(0, n, n / 64e3)
    assert largest > 1000


def test_mixed_steps_have_whole_tiles_of_prompt_tokens_beside_the_decoding_sequences() -> None:
    budget = StepBudget(2048, max_gap=0.25, tile=64, mixes_tiles=True)
    n = settle(budget, linear, n_decoding=8)
    assert n == 64
    assert settle(StepBudget(2048, 0.5, tile=64, mixes_tiles=True), linear, n_decoding=8) == 192


def attending(n_tokens: int, context: float) -> float:
    """As a long prompt on a CPU: 2,000 tokens of context double the cost of a token."""
    return 0.005 + 0.001 * n_tokens * (1 + context / 2000)


def test_steps_of_a_long_prompt_keep_the_gap_although_each_token_costs_more_than_the_last() -> None:
    budget = StepBudget(2048, max_gap=0.25, tile=64)
    budget.observe(1, 0, 0.01)
    budget.observe(0, 64, attending(64, 0))
    start, longest = 0, 0.0
    while start < 6000:
        n = budget.n_prompt_tokens(1, 1, start)
        seconds = attending(n, start + n / 2)
        longest = max(longest, seconds + 0.01)
        budget.observe(0, n, seconds, start + n / 2)
        start += n
    assert longest <= 0.25 * 1.1


def test_a_prompt_behind_a_long_cached_prefix_gets_a_short_step_at_once() -> None:
    budget = StepBudget(2048, max_gap=0.25)
    budget.observe(1, 0, 0.01)
    for start in range(0, 4000, 100):
        budget.observe(0, 100, attending(100, start + 50), start + 50)
    late = budget.n_prompt_tokens(1, 1, 8000)
    assert attending(late, 8000) <= 0.25 * 1.1
    assert budget.n_prompt_tokens(1, 1, 0) > 2 * late


def test_a_device_too_slow_for_a_tile_computes_less_beside_decoding_sequences() -> None:
    budget = StepBudget(2048, tile=64)
    budget.observe(4, 0, 0.1)
    budget.observe(0, 64, 6.4)
    assert 0 < budget.n_prompt_tokens(4) < 64


def test_a_small_batch_has_whole_tiles() -> None:
    for n_batch, expected in ((64, 64), (100, 64), (128, 128), (256, 256)):
        budget = StepBudget(n_batch, tile=64)
        budget.observe(4, 0, 0.01)
        budget.observe(0, n_batch, 0.0005 * n_batch)
        assert budget.n_prompt_tokens(4) == min(expected, n_batch - 4)


def test_if_steps_are_never_mixed_the_decode_step_counts_for_small_prompt_steps() -> None:
    for shares_steps, expected in ((True, 21), (False, 17)):  # of 25 and 17 tokens in 0.5 s
        budget = StepBudget(2048, max_gap=0.5, tile=64, shares_steps=shares_steps)
        budget.observe(4, 0, 0.15)
        budget.observe(0, 40, 0.8)
        assert budget.n_prompt_tokens(4) == expected


def test_while_nothing_decodes_steps_are_whole_ubatches() -> None:
    budget = StepBudget(2048, n_ubatch=512)
    budget.observe(0, 512, 1.6)
    assert budget.n_prompt_tokens(0) == 512
    budget.observe(0, 512, 0.7)
    budget.observe(0, 512, 0.7)
    assert budget.n_prompt_tokens(0) % 512 == 0
    slow = StepBudget(2048, n_ubatch=512)
    slow.observe(0, 128, 3.0)
    assert slow.n_prompt_tokens(0) == 64


def test_the_tokens_left_after_a_chunk_are_whole_tiles() -> None:
    # The tokens that do not fill a tile come first, where a tile costs least.
    assert whole_tiles(128, 1064, 64) == 104
    assert whole_tiles(64, 1064, 64) == 40
    # Less than a quarter of a tile is cheaper at the end, token by token.
    assert whole_tiles(128, 1027, 64) == 128
    assert whole_tiles(509, 1027, 64) == 512
    assert whole_tiles(128, 100, 64) == 100
    assert whole_tiles(20, 1000, 64) == 0
    for n_most in range(64, 300):
        for n_remaining in range(1, 300):
            n = whole_tiles(n_most, n_remaining, 64)
            assert 0 < n <= n_remaining
            assert n <= n_most + 16
            assert n == n_remaining or (n_remaining - n) % 64 == 0 or n % 64 == 0


def test_a_step_never_exceeds_the_batch() -> None:
    budget = StepBudget(64)
    budget.observe(0, 64, 0.001)
    assert budget.n_prompt_tokens(60) == 4
    assert budget.n_prompt_tokens(0) == 64
