"""The default context: as much of the training context as half of the free memory takes."""

import pytest

from server.protocol.default_context import FLOOR, choose_context, slack
from server.protocol.loading import DeviceMemory, HostBudget

_GIB = 1 << 30


def _host(context: int, free: int | None, model: int = 4 * _GIB) -> DeviceMemory:
    return DeviceMemory("CPU", "host", model, context, 0, free, 64 * _GIB)


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (40 * _GIB, 131_072),  # 16 GiB of cache, of 36 that are free beside the weights
        (24 * _GIB, 81_920),
        (8 * _GIB, 16_384),
        (5 * _GIB, FLOOR),
        (_GIB, FLOOR),
    ],
)
def test_half_of_the_memory_beside_the_weights_decides(free: int, expected: int) -> None:
    tried = []

    def slack_at(n_ctx: int) -> float:
        tried.append(n_ctx)
        return slack([_host(n_ctx << 17, free)], HostBudget())

    assert choose_context(131_072, slack_at) == expected
    assert len(tried) <= 6


@pytest.mark.parametrize("n_ctx_train", [512, 4096, FLOOR])
def test_a_small_training_context_is_always_taken(n_ctx_train: int) -> None:
    assert choose_context(n_ctx_train, lambda _: -1.0) == n_ctx_train


def test_memory_that_grows_unevenly_stays_within_the_limit() -> None:
    limit = 5.0e9

    def slack_at(n_ctx: int) -> float:
        return limit - (n_ctx**1.3) * 2000

    chosen = choose_context(1 << 20, slack_at)
    assert slack_at(chosen) >= 0
    assert chosen > FLOOR


def test_the_tightest_device_decides_and_margins_stay_free() -> None:
    gpu = DeviceMemory("CUDA0", "gpu", 4 * _GIB, 3 * _GIB, _GIB, 16 * _GIB, 24 * _GIB)
    unknown = DeviceMemory("X", "gpu", 4 * _GIB, 3 * _GIB, _GIB, None, None)
    devices = [_host(_GIB, None), gpu, unknown]
    assert slack(devices, HostBudget()) == 2 * _GIB
    assert slack(devices, HostBudget(), {"CUDA0": 2 * _GIB}) == _GIB


def test_a_budget_and_the_memory_of_the_model_that_is_replaced_count() -> None:
    host = [_host(_GIB, 6 * _GIB)]
    assert slack(host, HostBudget()) == 0
    assert slack(host, HostBudget(credit=4 * _GIB)) == 2 * _GIB
    assert slack(host, HostBudget(limit=4 * _GIB, credit=4 * _GIB)) == -_GIB
