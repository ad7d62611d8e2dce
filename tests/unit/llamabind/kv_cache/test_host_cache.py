"""HostCache: which states are saved and which are evicted."""

from __future__ import annotations

from array import array

from llamabind.kv_cache.host_cache import HostCache, StateSize, StoredState
from llamabind.kv_cache.operations import DropState


def _make(limit: int = 100, *, is_cuttable: bool = True, size: StateSize | None = None):
    return HostCache(limit, size or StateSize(per_token=1), is_cuttable=is_cuttable)


def _tokens(first: int, n: int) -> array[int]:
    return array("i", range(first, first + n))


def _store(cache: HostCache, tokens: array[int], **fields) -> StoredState:
    state = cache.save(tokens, **fields)
    assert state is not None
    cache.confirm({state.state_id: state.n_bytes})
    return state


def _found(cache: HostCache, tokens: array[int]) -> list[tuple[int, int]]:
    return sorted((state.state_id, n) for state, n in cache.matches(tokens))


def test_a_state_is_found_by_any_prefix_once_it_is_saved():
    cache = _make()
    state = cache.save(_tokens(1, 10))
    assert _found(cache, _tokens(1, 20)) == []
    cache.confirm({state.state_id: 10})
    assert _found(cache, _tokens(1, 20)) == [(state.state_id, 10)]
    assert _found(cache, _tokens(1, 4)) == [(state.state_id, 4)]
    assert _found(cache, _tokens(2, 4)) == []


def test_a_state_that_could_not_be_saved_is_dropped():
    cache = _make()
    cache.save(_tokens(1, 10))
    cache.confirm({})
    assert (len(cache), cache.n_bytes) == (0, 0)
    cache.check()


def test_the_least_recently_used_states_are_evicted_first():
    cache = _make(limit=30)
    old, middle, new = (_store(cache, _tokens(100 * i, 10)) for i in range(1, 4))
    cache.touch(old)
    _store(cache, _tokens(900, 15))
    assert cache.take_drops() == [DropState(middle.state_id), DropState(new.state_id)]
    assert cache.n_bytes == 25


def test_a_state_larger_than_the_limit_is_not_saved():
    cache = _make(limit=30)
    _store(cache, _tokens(1, 20))
    assert cache.save(_tokens(100, 31)) is None
    assert len(cache) == 1


def test_a_limit_of_zero_saves_nothing_not_even_states_of_zero_bytes():
    assert _make(limit=0, size=StateSize()).save(_tokens(1, 10)) is None


def test_measured_sizes_replace_estimated_ones():
    cache = _make(limit=30)
    first = _store(cache, _tokens(1, 10))
    second = cache.save(_tokens(100, 10))
    cache.confirm({second.state_id: 25})
    assert cache.take_drops() == [DropState(first.state_id)]
    assert cache.n_bytes == 25
    cache.check()


def test_a_state_replaces_states_that_are_its_prefixes():
    cache = _make()
    short = _store(cache, _tokens(1, 10))
    _store(cache, _tokens(1, 20))
    assert cache.take_drops() == [DropState(short.state_id)]
    assert cache.save(_tokens(1, 15)) is None, "the longer state has these tokens"


def test_uncuttable_states_of_every_length_are_kept():
    cache = _make(is_cuttable=False)
    _store(cache, _tokens(1, 10))
    _store(cache, _tokens(1, 20))
    _store(cache, _tokens(1, 15))
    assert len(cache) == 3
    assert cache.save(_tokens(1, 15)) is None


def test_partial_states_have_a_fixed_size_and_are_kept_beside_full_ones():
    cache = _make(is_cuttable=False, size=StateSize(fixed=7, per_token=1))
    assert _store(cache, _tokens(1, 10), is_partial=True).n_bytes == 7
    assert _store(cache, _tokens(1, 10)).n_bytes == 17


def test_a_state_evicted_in_the_step_that_saves_it_is_freed_afterwards():
    cache = _make(limit=30)
    first = cache.save(_tokens(1, 20))
    second = cache.save(_tokens(100, 20))
    assert cache.take_drops() == [DropState(first.state_id)]
    cache.confirm({first.state_id: 20, second.state_id: 20})
    assert cache.take_drops() == [DropState(first.state_id)]
    cache.check()
