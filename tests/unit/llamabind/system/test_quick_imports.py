"""quick_imports: the garbage collector rests, and works again afterwards."""

import gc
from collections.abc import Iterator

import pytest

from llamabind.system.quick_imports import quick_imports


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.enable()
    yield
    gc.unfreeze()
    if not was_enabled:
        gc.disable()


def test_the_collector_rests_during_the_imports_and_exempts_their_objects() -> None:
    with quick_imports():
        assert not gc.isenabled()
        made = [object]
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    assert not any(each is made for each in gc.get_objects())


def test_an_import_that_fails_leaves_it_enabled() -> None:
    with pytest.raises(ImportError), quick_imports():
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with quick_imports():
        pass
    assert not gc.isenabled()
