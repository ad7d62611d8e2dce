"""The prompt budget of a step, driven by simulated devices."""

from collections.abc import Callable

from llamabind.step_budget import StepBudget

Device = Callable[[int], float]


def linear(n_tokens: int) -> float:
    """10 ms for the weights, 2 ms for each token."""
    return 0.01 + 0.002 * n_tokens


def stepped(n_tokens: int) -> float:
    """As ggml's CPU flash attention deep in a prompt: from 64 tokens on each costs half."""
    return 0.01 + (0.005 if n_tokens >= 64 else 0.01) * n_tokens


def settle(
    budget: StepBudget, device: Device, n_decoding: int = 1, steps: int = 20, n_prompts: int = 1
) -> int:
    """Serve long prompts beside `n_decoding` streams; return the last step's prompt tokens."""
    for _ in range(5):
        budget.observe(n_decoding, 0, device(n_decoding))
    n = 0
    for _ in range(steps):
        n = budget.n_prompt_tokens(n_decoding, n_prompts)
        budget.observe(n_decoding, n, device(n_decoding + n))
    return n


def test_the_first_step_beside_a_stream_is_careful() -> None:
    assert StepBudget(2048).n_prompt_tokens(1) == 64


def test_nobody_waits_so_an_unknown_model_gets_the_whole_batch() -> None:
    assert StepBudget(2048).n_prompt_tokens(0) == 2048


def test_alone_a_slow_model_gets_steps_that_a_newcomer_can_wait_for() -> None:
    budget = StepBudget(2048)
    budget.observe(0, 2048, 6.0)
    assert budget.n_prompt_tokens(0) == 512
    fast = StepBudget(2048)
    fast.observe(0, 2048, 0.2)
    assert fast.n_prompt_tokens(0) == 2048


def test_steps_keep_to_the_gap_of_a_slow_device() -> None:
    budget = StepBudget(2048)
    n = settle(budget, linear)
    assert 0.15 <= linear(1 + n) <= 0.3 * 1.6


def test_a_gap_may_be_twice_as_long_where_more_wait_for_their_first_token() -> None:
    alone = settle(StepBudget(2048), linear)
    equal = settle(StepBudget(2048), linear, n_decoding=4, n_prompts=4)
    crowd = settle(StepBudget(2048), linear, n_prompts=3)
    large_crowd = settle(StepBudget(2048), linear, n_prompts=15)
    assert linear(4 + equal) <= 0.4
    assert 1.5 * linear(1 + alone) < linear(1 + crowd) <= 0.8
    assert large_crowd == crowd


def test_on_a_fast_device_the_gap_is_shorter() -> None:
    def fast(n_tokens: int) -> float:
        return linear(n_tokens) / 10

    n = settle(StepBudget(2048), fast)
    assert fast(1 + n) <= 20 * fast(1) * 1.6 < 0.3


def test_a_larger_step_is_taken_where_its_tokens_cost_half() -> None:
    n = settle(StepBudget(2048), stepped)
    assert 1 + n >= 64
    assert stepped(1 + n) <= 0.3 * 1.6


def test_many_streams_that_take_long_by_themselves_leave_room_for_prompts() -> None:
    n = settle(StepBudget(2048), lambda n_tokens: 0.05 * n_tokens, n_decoding=16)
    assert n >= 16


def test_a_size_that_was_once_slow_gets_another_chance() -> None:
    budget = StepBudget(2048)
    settle(budget, linear)
    budget.observe(1, 100, 5.0)
    assert budget.n_prompt_tokens(1) < 64
    assert settle(budget, linear, steps=100) >= 64


def test_a_step_never_exceeds_the_batch() -> None:
    budget = StepBudget(64)
    budget.observe(0, 64, 0.001)
    assert budget.n_prompt_tokens(60) == 4
    assert budget.n_prompt_tokens(0) == 64
