"""A prefix is reused only if it still has the cells of its sliding window."""

from array import array

import pytest

from llamabind.engine.config import EngineConfig
from llamabind.kv_cache.host_cache import HostCache, StateSize
from llamabind.kv_cache.slot_pool import SlotPool
from llamabind.kv_cache.window import CacheWindow

WINDOW = 16
TOKENS = array("i", range(100))


def pool_with(n_tokens: int, first_position: int) -> SlotPool:
    """A pool with a retained slot of `n_tokens`, which has no cells before `first_position`."""
    pool = SlotPool(2, 256, HostCache(0, StateSize(), is_cuttable=False))
    pool.set_window(CacheWindow(WINDOW, lambda _seq_id: first_position))
    pool.slots[0].tokens = TOKENS[:n_tokens]
    return pool


@pytest.mark.parametrize(
    ("first_position", "n_shared", "expected"),
    [(0, 20, 20), (34, 50, 50), (35, 50, 50), (36, 50, 0), (40, 20, 0)],
)
def test_a_prefix_whose_window_lost_cells_is_not_reused(
    first_position: int, n_shared: int, expected: int
) -> None:
    pool = pool_with(60, first_position)
    prompt = TOKENS[:n_shared] + array("i", [1000, 1001])
    assert pool.longest_prefix(prompt).n == expected


@pytest.mark.parametrize(("n_ctx", "is_full"), [(2048, True), (4608, True), (16384, False)])
def test_a_small_cache_without_cells_for_all_windows_gets_the_full_size(
    n_ctx: int, is_full: bool
) -> None:
    config = EngineConfig(n_ctx=n_ctx, n_parallel=9, swa_full=False)
    assert config.takes_swa_full(512, 32768) is is_full
