"""MemoryBudget: which models are evicted for another, and when a model cannot fit."""

from typing import Any

import pytest

from server.models.memory_budget import (
    HOST,
    MODELS,
    Holder,
    MemoryBudget,
    Shortage,
    amounts_of,
    free_of,
    hidden_of,
)
from server.protocol.loading import DeviceMemory


def _holder(name: str, size: int, used: float = 0, **more: Any) -> Holder:
    return Holder(name, {HOST: size, MODELS: 1}, used, **({"is_idle": True} | more))


_NEED = {HOST: 40, MODELS: 1}


def test_a_model_that_fits_evicts_nothing() -> None:
    plan = MemoryBudget(100).plan(_NEED, {HOST: 50}, [_holder("a", 60)])
    assert (plan.evict, plan.wait_for, plan.missing) == ((), (), {})


def test_without_limits_only_free_memory_counts() -> None:
    budget = MemoryBudget()
    assert budget.plan(_NEED, {}, [_holder("a", 1000)]).evict == ()
    assert budget.plan(_NEED, {HOST: 39}, [_holder("a", 1000)]).evict == ("a",)


def test_the_least_recently_used_is_evicted_first() -> None:
    holders = [_holder("new", 50, used=9), _holder("old", 50, used=1)]
    assert MemoryBudget(100).plan(_NEED, {}, holders).evict == ("old",)


def test_no_more_models_are_evicted_than_needed() -> None:
    holders = [_holder("small", 10, used=1), _holder("big", 50, used=2), _holder("new", 40, used=3)]
    assert MemoryBudget(100).plan(_NEED, {}, holders).evict == ("big",)


def test_models_on_other_devices_are_not_evicted() -> None:
    on_gpu = Holder("gpu", {"CUDA0": 90}, 0, is_idle=True)
    plan = MemoryBudget(100).plan(_NEED, {}, [on_gpu, _holder("host", 90, used=5)])
    assert plan.evict == ("host",)


@pytest.mark.parametrize("guard", [{"is_pinned": True}, {"is_idle": False}], ids=["pinned", "busy"])
def test_pinned_and_busy_models_are_not_evicted(guard: dict[str, bool]) -> None:
    holders = [_holder("kept", 50, used=1, **guard), _holder("idle", 50, used=2)]
    assert MemoryBudget(100).plan(_NEED, {}, holders).evict == ("idle",)


def test_a_busy_model_is_waited_for_if_evictions_do_not_suffice() -> None:
    holders = [_holder("busy", 50, is_idle=False), _holder("pinned", 50, is_pinned=True)]
    plan = MemoryBudget(100).plan(_NEED, {}, holders)
    assert (plan.evict, plan.wait_for) == ((), ("busy",))


def test_a_model_that_can_never_fit_has_needed_free_and_available_bytes() -> None:
    holders = [_holder("pinned", 70, is_pinned=True), _holder("idle", 20)]
    plan = MemoryBudget(100).plan(_NEED, {}, holders)
    assert plan.missing == {HOST: Shortage(needed=40, free=10, available=30)}
    assert plan.evict == ()


def test_a_model_that_is_loading_has_its_memory_reserved() -> None:
    loading = _holder("loading", 30, is_idle=False, hidden={HOST: 30})
    assert MemoryBudget().plan(_NEED, {HOST: 60}, [loading]).wait_for == ("loading",)
    loaded = _holder("loaded", 30, is_idle=False)
    assert MemoryBudget().plan(_NEED, {HOST: 60}, [loaded]).wait_for == ()


def test_mapped_weights_of_loaded_models_are_not_free() -> None:
    loaded = _holder("loaded", 30, hidden={HOST: 25})
    assert MemoryBudget().plan(_NEED, {HOST: 60}, [loaded]).evict == ("loaded",)
    assert MemoryBudget().plan(_NEED, {HOST: 65}, [loaded]).evict == ()


def test_devices_have_limits_of_their_own() -> None:
    budget = MemoryBudget(0, {"CUDA0": 100})
    holder = Holder("a", {"CUDA0": 80}, 0, is_idle=True)
    assert budget.plan({"CUDA0": 40}, {"CUDA0": 1000}, [holder]).evict == ("a",)
    assert budget.plan({"CUDA1": 40}, {"CUDA1": 1000}, [holder]).evict == ()


def test_the_number_of_models_is_a_limit_too() -> None:
    holders = [_holder("a", 1, used=2), _holder("b", 1, used=1)]
    assert MemoryBudget(max_models=2).plan(_NEED, {}, holders).evict == ("b",)


def test_amounts_and_free_memory_are_read_from_devices() -> None:
    devices = (
        DeviceMemory("CPU", "host", 1, 2, 3, 100, 200),
        DeviceMemory("CUDA0", "gpu", 10, 20, 30, None, None),
    )
    assert amounts_of(devices) == {HOST: 6, "CUDA0": 60, MODELS: 1}
    assert free_of(devices) == {HOST: 100}
    assert hidden_of(devices) == {}
    mapped = DeviceMemory("CPU", "host", 10, 2, 3, 100, 200, mapped_bytes=9)
    assert hidden_of([mapped]) == {HOST: 9}
